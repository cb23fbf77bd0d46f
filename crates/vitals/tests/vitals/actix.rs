//! The endpoints within actix-web.

use actix_web::{App, test};
use vitals::{Disclosure, Vitals, testing::FakeCheck};

#[test]
fn the_endpoints_answer() {
    actix_web::rt::System::new().block_on(ask_all());
}

async fn ask_all() {
    let check = FakeCheck::passing();
    let health = Vitals::new("a", "1")
        .disclosure(Disclosure::Token("t0k".to_owned()))
        .critical("x", check.clone());
    let app = test::init_service(App::new().configure(health.actix())).await;
    let ask = async |path: &str| {
        let request = test::TestRequest::get()
            .uri(path)
            .insert_header(("authorization", "Bearer t0k"))
            .to_request();
        let response = test::call_service(&app, request).await;
        let status = response.status().as_u16();
        (status, String::from_utf8(test::read_body(response).await.to_vec()).unwrap())
    };
    assert_eq!(
        ask("/health/ready").await,
        (200, r#"{"status":"healthy","version":"1"}"#.to_owned())
    );
    let (status, body) = ask("/health").await;
    assert!(status == 200 && body.contains(r#""name":"x","status":"healthy""#), "{body}");
    assert_eq!(ask("/health/nobody").await.0, 404);
    check.fail("down");
    health.drain();
    assert_eq!(ask("/readyz?verbose").await.0, 503);
    assert_eq!(ask("/livez").await.0, 200);
}
