//! Test of the example program `protected_app`, over HTTP.

use std::{env, process::Stdio, time::Duration};

use reqwest::{Client, StatusCode};
use tee_session_test_support::eventually;
use tokio::{net::TcpListener, process::Command};

#[tokio::test]
async fn example_program_returns_401_without_a_token_and_200_with_a_valid_token() {
    let test_binary = env::current_exe().unwrap();
    let target_folder = test_binary.ancestors().nth(2).unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut program = Command::new(target_folder.join("examples/protected_app"))
        .arg(free.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("cargo built the example beside this test");
    let (client, base) = (Client::new(), format!("http://127.0.0.1:{free}"));
    eventually(Duration::from_secs(10), async || {
        client.get(format!("{base}/members")).send().await.is_ok()
    })
    .await;

    let refused = client.get(format!("{base}/members")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let token = client
        .post(format!("{base}/login"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let page = client
        .get(format!("{base}/members"))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(
        page.starts_with("logged in at https://golf.example, session "),
        "{page}"
    );
    let logged_out = client.post(format!("{base}/logout")).bearer_auth(&token);
    let logged_out = logged_out.send().await.unwrap();
    assert_eq!(logged_out.status(), StatusCode::NO_CONTENT);
    let refused = client.get(format!("{base}/members")).bearer_auth(&token);
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    program.kill().await.unwrap();
}
