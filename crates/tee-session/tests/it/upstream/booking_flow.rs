//! Test of a booking over TLS, with the recipes in `docs/recipes`, with requests and with the Rust
//! client. The client logs in with a CSRF token, rotates the token of the session, lists the times,
//! books with a `GET`, and adds a partner.

use rstest::rstest;
use serde_json::{Value, json};
use tee_session_client::{BaseUrl, Client, Cookies, SessionToken, http::Method};
use tokio::process::Command;

use super::start_gateway_to;
use crate::{
    booking_sites::BookingSite,
    python_packages::{self, RECIPES},
    service::Service,
};

#[derive(Debug, Clone, Copy)]
enum Site {
    Php,
    Django,
}

#[derive(Debug, Clone, Copy)]
enum Caller {
    Curl,
    Httpx,
    Requests,
    RustClient,
}

#[rstest]
#[tokio::test]
async fn booking_flow_over_tls_books_exactly_once(
    #[values(Site::Php, Site::Django)] site: Site,
    #[values(Caller::Curl, Caller::Httpx, Caller::Requests, Caller::RustClient)] caller: Caller,
) {
    let site = match site {
        Site::Php => BookingSite::of_counting_php().await,
        Site::Django => BookingSite::of_django().await,
    };
    let service = start_gateway_to(&site).await;
    let arguments = [service.base(), site.base.as_str()];
    let seen: Value = match caller {
        Caller::Curl => {
            let mut curl = Command::new("bash");
            curl.arg(format!("{RECIPES}/gateway_booking.sh"));
            output_of(curl.args(arguments)).await
        }
        Caller::Httpx => {
            let mut httpx = python_packages::recipe("gateway_booking.py");
            output_of(httpx.args(arguments)).await
        }
        Caller::Requests => {
            let mut requests = python_packages::script("requests_booking.py");
            output_of(requests.args(arguments)).await
        }
        Caller::RustClient => flow_of_rust_client(&service, &site).await,
    };
    let expected = json!({
        "welcome": "Welcome Anna",
        "times": "Slots: 7, 8, 9",
        "booked": "Booking 1",
        "booked_at": "/v1/upstream/teetimes?edit=1",
        "partner": "added",
        "old_token": 401,
    });
    assert_eq!(seen, expected);
    assert_eq!(site.bookings(), ["book 7", "partner 1"]);
}

async fn output_of(command: &mut Command) -> Value {
    let output = python_packages::output_of(command).await;
    serde_json::from_str(&output).unwrap()
}

/// Sends a request through the gateway and follows redirects. Returns the last path and the body of
/// the last answer.
async fn call(
    service: &Service,
    token: &SessionToken,
    path: &str,
    form: Option<String>,
) -> (String, String) {
    let client = Client::new(service.base()).unwrap();
    // Over TLS, Django requires a `Referer` with the origin of the site. The gateway translates
    // this `Referer` of the gateway.
    let referer = format!("{}/v1/upstream/login", service.base());
    let upstream = |method, path: &str| client.session(token).upstream(method, path);
    let mut call = match form {
        None => upstream(Method::GET, path),
        Some(form) => {
            let kind = "application/x-www-form-urlencoded".parse().unwrap();
            let call = upstream(Method::POST, path);
            call.header("content-type".parse().unwrap(), kind)
                .body(form)
        }
    };
    call = call.header("referer".parse().unwrap(), referer.parse().unwrap());
    let mut path = path.to_owned();
    loop {
        let answer = call.send().await.unwrap();
        assert!(answer.cookies_are_kept());
        let Some(next) = answer.redirect() else {
            return (path, answer.text().await.unwrap());
        };
        path = next.to_owned();
        call = upstream(Method::GET, &path);
    }
}

async fn flow_of_rust_client(service: &Service, site: &BookingSite) -> Value {
    let client = Client::new(service.base()).unwrap();
    let base_url = BaseUrl::new(site.base.as_str()).unwrap();
    let new = client.create(&Cookies::default(), &base_url).send().await;
    let old = new.unwrap().access_token;
    let (_, form) = call(service, &old, "/login", None).await;
    let mut input = form.split('"').skip_while(|part| !part.ends_with("name="));
    let (name, value) = (input.nth(1).unwrap(), input.nth(1).unwrap());
    let login = format!("{name}={value}&member=Anna&pin=1234");
    let (_, welcome) = call(service, &old, "/login", Some(login)).await;
    let token = client.session(&old).rotate().await.unwrap().access_token;

    let (_, times) = call(service, &token, "/teetimes", None).await;
    let (booked_at, booked) = call(service, &token, "/book?slot=7", None).await;
    let (_, partner) = call(service, &token, "/partner?edit=1", None).await;
    let old = client.session(&old).upstream(Method::GET, "/book?slot=8");
    let refused = old.send().await.unwrap_err();
    assert!(refused.is_invalid_token());
    json!({
        "welcome": welcome,
        "times": times,
        "booked": booked,
        "booked_at": format!("/v1/upstream{booked_at}"),
        "partner": partner,
        "old_token": 401,
    })
}
