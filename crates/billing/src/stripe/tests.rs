//! Against a server on this machine that stands in for Stripe.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;

use domain::plan::Plan;
use ids::OrgId;
use serde_json::json;

use super::*;
use crate::signature::sign;

fn secret() -> SecretString {
    hex::encode(clock::Sources::system().bytes::<16>()).into()
}

fn stripe(address: &str) -> Stripe {
    let team = Plan { price: Some("price_team".into()), ..Plan::default() };
    let egress = Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
    Stripe {
        client: egress::guarded(Duration::from_secs(5), egress.clone()).build().unwrap(),
        address: address.parse().unwrap(),
        egress,
        settings: StripeSettings {
            api_key: secret(),
            webhook_secret: secret(),
            return_url: "https://cowork.example/plan".into(),
        },
        plans: Arc::new(BTreeMap::from([("team".to_owned(), team)]).into()),
    }
}

/// What is answered to a question, and what was asked.
async fn asked<T>(
    answer: String,
    question: impl AsyncFnOnce(&Stripe) -> Result<T, BillingError>,
) -> (Result<T, BillingError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stripe = stripe(&format!("http://{}/", listener.local_addr().unwrap()));
    let far_side = tokio::task::spawn_blocking(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = String::new();
        let mut buffer = [0; 4096];
        while !whole(&request) {
            let read = stream.read(&mut buffer).unwrap();
            request.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        stream.write_all(answer.as_bytes()).unwrap();
        request
    });
    let said = question(&stripe).await;
    let request = far_side.await.unwrap();
    assert!(request.contains(&format!("authorization: Bearer {}\r\n", stripe.settings.api_key.expose_secret())));
    (said, request)
}

fn whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

fn answer(status: &str, body: &Value) -> String {
    let body = body.to_string();
    let date = "date: Fri, 04 Oct 2024 00:00:07 GMT";
    format!("HTTP/1.1 {status}\r\n{date}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn subscription(status: &str) -> Value {
    json!({
        "id": "sub_1", "object": "subscription", "status": status, "customer": "cus_1",
        "items": {"data": [{"price": {"id": "price_team"}, "current_period_end": 1_730_000_000}]},
        "metadata": {"org_id": "01926b3a-0000-7000-8000-000000000001"}, "livemode": false,
    })
}

fn event(kind: &str, object: &Value) -> Vec<u8> {
    let event = json!({"id": "evt_1", "type": kind, "created": 1_728_000_000, "data": {"object": object}});
    event.to_string().into_bytes()
}

fn now() -> Timestamp {
    instant(1_728_000_010).unwrap()
}

#[tokio::test]
async fn a_browser_is_sent_to_the_checkout_of_the_orgs_own_order() {
    let org: OrgId = "01926b3a-0000-7000-8000-000000000001".parse().unwrap();
    let url = "https://checkout.example/c/1";
    let (said, request) = asked(answer("200 OK", &json!({"id": "cs_1", "url": url})), async |stripe| {
        stripe.checkout(&Order { org, price: "price_team", customer: Some("cus_1") }).await
    })
    .await;
    assert_eq!(said.as_deref(), Ok(url));
    assert!(request.starts_with("POST /v1/checkout/sessions HTTP/1.1\r\n"), "{request}");
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let form: BTreeMap<_, _> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    for (name, value) in [
        ("mode", "subscription"),
        ("line_items[0][price]", "price_team"),
        ("subscription_data[metadata][org_id]", "01926b3a-0000-7000-8000-000000000001"),
        ("customer", "cus_1"),
        ("success_url", "https://cowork.example/plan"),
    ] {
        assert_eq!(form[name], value, "{name}");
    }
}

#[tokio::test]
async fn what_the_provider_refuses_or_says_badly_is_told_apart() {
    let (refused, _) = asked(answer("400 Bad Request", &json!({})), async |stripe| stripe.portal("cus_1").await).await;
    assert_eq!(refused, Err(BillingError::Refused(400)));
    let (odd, _) =
        asked(answer("200 OK", &json!({"url": "no address"})), async |stripe| stripe.portal("cus_1").await).await;
    assert_eq!(odd, Err(BillingError::Unreadable));
    let long = json!({"url": format!("https://portal.example/{}", "x".repeat(ANSWER_MAX))});
    let (long, _) = asked(answer("200 OK", &long), async |stripe| stripe.portal("cus_1").await).await;
    assert_eq!(long, Err(BillingError::Unreadable));
    let nobody = stripe("http://10.0.0.1:9/");
    assert_eq!(nobody.portal("cus_1").await, Err(BillingError::Unreachable), "its network is not called");
}

#[tokio::test]
async fn subscriptions_that_are_asked_for_are_as_old_as_the_answer() {
    let list = json!({"data": [subscription("past_due"), {"id": "sub_2", "status": "asleep"}], "has_more": true});
    let (page, request) = asked(answer("200 OK", &list), async |stripe| stripe.page(Some("sub&0"), now()).await).await;
    assert!(
        request.starts_with("GET /v1/subscriptions?status=all&limit=50&starting_after=sub%260 HTTP/1.1\r\n"),
        "{request}"
    );
    let page = page.unwrap();
    assert_eq!((page.items.len(), page.unreadable, page.next.as_deref()), (1, 1, Some("sub_2")));
    assert_eq!(page.items[0].terms.state, SubscriptionState::PastDue);
    assert_eq!(page.items[0].terms.at, instant(1_728_000_007).unwrap());
    let last = json!({"data": [], "has_more": false});
    let (page, _) = asked(answer("200 OK", &last), async |stripe| stripe.page(None, now()).await).await;
    assert_eq!(page, Ok(Page::default()));
}

#[test]
fn a_signed_event_says_whose_subscription_is_what() {
    let stripe = stripe("http://127.0.0.1:9/");
    let read = |body: &[u8]| {
        let header = sign(body, &stripe.settings.webhook_secret, now().timestamp());
        stripe.read(Some(&header), body, now())
    };
    let notice = read(&event("customer.subscription.updated", &subscription("active"))).unwrap();
    let told = notice.told.unwrap();
    assert_eq!(notice.event, "evt_1");
    assert_eq!(told.org.unwrap().to_string(), "01926b3a-0000-7000-8000-000000000001");
    let terms = Terms {
        plan: Some("team".into()),
        state: SubscriptionState::Active,
        period_ends_at: Some(instant(1_730_000_000).unwrap()),
        customer: Some("cus_1".into()),
        reference: "sub_1".into(),
        at: instant(1_728_000_000).unwrap(),
    };
    assert_eq!(told.terms, terms);
    let ended = read(&event("customer.subscription.deleted", &subscription("canceled"))).unwrap();
    assert_eq!(ended.told.unwrap().terms.state, SubscriptionState::Cancelled);
    assert_eq!(read(&event("invoice.paid", &json!({"id": "in_1"}))).unwrap().told, None);
    for odd in [event("customer.subscription.updated", &subscription("asleep")), b"{}".to_vec(), b"x".to_vec()] {
        assert_eq!(read(&odd), Err(NoticeError::Unreadable));
    }
    let body = event("customer.subscription.updated", &subscription("active"));
    assert_eq!(stripe.read(None, &body, now()), Err(NoticeError::NotSigned));
}
