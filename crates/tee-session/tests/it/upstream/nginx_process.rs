//! nginx as a child process.

use std::{fs, path::Path, process::Stdio, time::Duration};

use tee_session_test_support::eventually;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::gateway::path_of_installed;

const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// Starts nginx with the configuration `text` in `directory`, and waits until it listens on `port`.
/// Dropping the result stops nginx.
pub(super) async fn start(directory: &Path, port: u16, text: &str) -> Child {
    let file = directory.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let nginx = Command::new(path_of_installed("nginx", "/usr/sbin/nginx"))
        .args(["-e", "stderr", "-p"])
        .arg(directory)
        .arg("-c")
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually(STARTED_WITHIN, async || {
        TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    nginx
}
