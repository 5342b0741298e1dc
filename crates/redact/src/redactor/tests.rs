use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// `{}` in a text stands for so many characters that no scanner of source code takes the test for a leak.
fn fill(text: &str) -> String {
    text.replace("{}", "A1b2C3d4E5f6G7h8I9j0A1b2C3d4E5f6G7h8I9j0").replace("{caps}", "A1B2C3D4E5F6G7H8")
}

#[track_caller]
fn becomes(text: &str, expect: &str) {
    let text = fill(text);
    assert_eq!(Redactor::new().redact(&text), fill(expect));
}

#[track_caller]
fn stays(text: &str) {
    becomes(text, text);
}

#[test]
fn tokens_go() {
    becomes("token cow_{}.", "token [redacted:api_token].");
    becomes("cookie: __Host-cowork=cos_{}", "cookie: __Host-cowork=[redacted:api_token]");
    becomes("\\ncow_{} x", "\\n[redacted:api_token] x");
    becomes("(whsec_{}=)", "([redacted:channel_credential])");
    becomes("Authorization: Bearer {}", "Authorization: Bearer [redacted:bearer_token]");
    becomes("authorization: Basic dXNlcjpwdw==", "authorization: Basic [redacted:authorization]");
    for vendors in ["sk-{}", "sk-ant-api03-{}", "ghp_{}", "github_pat_{}", "AKIA{caps}", "glpat-{}", "hf_{}"] {
        becomes(&format!("key {vendors}!"), "key [redacted:api_key]!");
    }
    for vendors in ["xoxb-12-{}", "ya29.{}", "eyJ{}.{}.{}"] {
        becomes(&format!("key {vendors}!"), "key [redacted:oauth_token]!");
    }
    stays("a task-list-of-things-to-do-in-order, risk-assessment-of-everything");
}

#[test]
fn private_keys_go_also_cut_short_or_escaped() {
    let begin = ["-----BEGIN EC ", "PRIVATE KEY-----"].concat();
    let end = ["-----END EC ", "PRIVATE KEY-----"].concat();
    becomes(&format!("a {begin}\nabc+/=\n{end}\nb"), "a [redacted:private_key]\nb");
    becomes(&format!("a {begin}\\nabc\\n{end}\\nb"), "a [redacted:private_key]\\nb");
    becomes(&format!("a {begin}\nabc"), "a [redacted:private_key]");
    becomes(&format!("\"a {begin}\\nDEK-Info: A,0\\nabc\""), "\"a [redacted:private_key]\"");
}

#[test]
fn what_signs_a_url_goes() {
    becomes(
        "https://b.example/o?X-Amz-Credential=k%2F1&X-Amz-Date=2&X-Amz-Signature=abc",
        "https://b.example/o?X-Amz-Credential=[redacted:signed_url_query]&X-Amz-Date=2&X-Amz-Signature=[redacted:signed_url_query]",
    );
    becomes("https://b.example/?sv=1&sig=a%2Bb%3D", "https://b.example/?sv=1&sig=[redacted:signed_url_query]");
    becomes("?a=1\\u0026access_token=x9", "?a=1\\u0026access_token=[redacted:signed_url_query]");
    becomes(
        "?X-Goog-Signature=ff&amp;key=v",
        "?X-Goog-Signature=[redacted:signed_url_query]&amp;key=[redacted:signed_url_query]",
    );
    stays("https://b.example/list?limit=10&cursor=abc&design=1");
}

#[test]
fn passwords_of_urls_go() {
    becomes("postgres://cowork:p/w@x@db:5432/c", "postgres://cowork:[redacted:password]@db:5432/c");
    becomes("https://u:pw@h.example/x", "https://u:[redacted:password]@h.example/x");
    becomes("https://{}@h.example/x", "https://[redacted:password]@h.example/x");
    stays("http://127.0.0.1:8080/a?b=c");
}

#[test]
fn emails_go() {
    becomes("mail ana.lima+x@mail.example.org now", "mail [redacted:email] now");
    becomes("to=ana%40example.org&x", "to=[redacted:email]&x");
    becomes("\\nana@example.org\\n", "\\n[redacted:email]\\n");
    becomes("josé@exämple.org", "[redacted:email]");
    stays("serde@1.0.229 and user@localhost");
}

#[test]
fn host_paths_go() {
    for path in ["/home/ana/x.rs", "/root/.cargo/registry/src", "/tmp/a/", "/odd/place", "/Users/ana/Ärger"] {
        becomes(&format!("at {path}:3"), "at [redacted:host_path]:3");
        becomes(&format!("\"{path}\""), "\"[redacted:host_path]\"");
        becomes(&format!("{{\"a\":\"x\\n{path}\"}}"), "{\"a\":\"x\\n[redacted:host_path]\"}");
    }
    becomes("file:/etc/cowork/k.key", "file:[redacted:host_path]");
    becomes("file:///etc/cowork/k.key", "file://[redacted:host_path]");
    becomes("?host=/run/pg", "?host=[redacted:host_path]");
    becomes("\\/home\\/ana", "[redacted:host_path]");
    becomes(r"in C:\Users\ana\x", "in [redacted:host_path]");
    becomes(r"in C:\\Users\\ana\\x", "in [redacted:host_path]");
    becomes("<td>/srv/data</td>", "<td>[redacted:host_path]</td>");
}

#[test]
fn routes_urls_and_ordinary_text_stay() {
    stays("GET /healthz, GET /api/workspace, POST /hooks/7f/x and GET /any/thing");
    stays("/api/sessions/7/events?after=3 > /dev/null");
    stays("{\"$ref\": \"#/definitions/check\"}");
    stays("https://cowork.example/a/b/c and http://127.0.0.1:80/a/b");
    stays("orgs/1/g1/artifacts/2/3 application/json Europe/Berlin and/or 2026/11/23 </td></tr>");
    stays("file:.../cookie.key file:secrets/cookie.key env:COOKIE");
    stays("018f3c1e-7b6a-7cc1-9d2e-3a4b5c6d7e8f 2026-11-23T06:18:00.123456Z 9f86d081884c7d659a2feaa0c55ad015");
}

#[test]
fn a_known_value_goes_in_every_form() {
    let redactor = Redactor::new();
    assert!(redactor.register(b"p\"ss w\xc3\xb6rd"));
    let encoded = STANDARD.encode("xxp\"ss wördyy");
    for text in ["a p\"ss wörd b", r#"{"a":"p\"ss wörd"}"#, "p%22ss%20w%C3%B6rd", "p%22ss+w%c3%b6rd", &encoded] {
        assert!(redactor.redact(text).contains(MARKER), "{text}");
    }
}

#[test]
fn a_clone_knows_what_the_other_learned() {
    let redactor = Redactor::new();
    let clone = redactor.clone();
    assert!(redactor.register(b"hunter2hunter2"));
    assert_eq!(clone.redact("a hunter2hunter2 b"), "a [redacted:secret] b");
    assert_eq!(format!("{clone:?}"), "Redactor");
}

#[test]
fn each_value_goes_whenever_it_was_registered_and_however_often() {
    let redactor = Redactor::new();
    for value in ["first secret", "second", "a third secret, longer than the others", "second", "\"fourth\"\n"] {
        assert!(redactor.register(value.as_bytes()));
    }
    let text = r#"second, first secret; a third secret, longer than the others; {"a":"\"fourth\"\n"}"#;
    assert_eq!(redactor.redact(text).matches(MARKER).count(), 4);
    for secret in ["second", "first secret", "third", "fourth"] {
        assert!(!redactor.redact(text).contains(secret), "{secret}");
    }
}

#[test]
fn a_value_that_would_tear_text_apart_is_refused() {
    for value in ["", "12345", "redacted", "[redacted:secret]", "********"] {
        assert!(!Redactor::new().register(value.as_bytes()), "{value}");
    }
}

#[test]
fn json_is_redacted_in_strings_names_and_secret_fields_and_stays_json() {
    let mut value = json!({
        "password": "x", "n": 1, "ana@example.org": ["\nana@example.org", {"at": "/home/ana/x\\ny"}],
        "api_token": "absent",
    });
    Redactor::new().redact_json(&mut value);
    let expect = json!({
        "password": "[redacted:secret]", "n": 1,
        "[redacted:email]": ["\n[redacted:email]", {"at": "[redacted:host_path]\\ny"}],
        "api_token": "absent",
    });
    assert_eq!(value, expect);
}

proptest! {
    #[test]
    fn a_redacted_text_never_contains_the_value(
        value in "[ -~é]{6,30}",
        pieces in prop::collection::vec("[ -~é/@.]{0,30}", 1..6),
    ) {
        let redactor = Redactor::new();
        prop_assume!(redactor.register(value.as_bytes()));
        let redacted = redactor.redact(&pieces.join(&value)).into_owned();
        prop_assert!(!redacted.contains(&value), "{redacted}");
    }

    #[test]
    fn redacting_twice_changes_nothing_more(text in "[ -~]{0,200}") {
        let once = Redactor::new().redact(&text).into_owned();
        let twice = Redactor::new().redact(&once).into_owned();
        let thrice = Redactor::new().redact(&twice).into_owned();
        prop_assert_eq!(twice, thrice);
    }

    #[test]
    fn redacted_json_text_is_still_json(text in "[ -~\n\t\"\\\\é@/.:]{0,100}", prefix in "[a-z@./ ]{0,40}") {
        let line = json!({"a": format!("{prefix}{text}"), "b": [text]}).to_string();
        let redacted = Redactor::new().redact(&line).into_owned();
        prop_assert!(serde_json::from_str::<Value>(&redacted).is_ok(), "{line} -> {redacted}");
    }
}

#[test]
fn an_escape_alone_is_nobodys_name() {
    let line = r#"{"a":"\t@a.example and \tana@a.example"}"#;
    assert_eq!(Redactor::new().redact(line), r#"{"a":"\t@a.example and \t[redacted:email]"}"#);
}

#[test]
fn an_operator_sees_paths_and_no_secrets() {
    let told = Redactor::new().redact_for_operator("chmod o+x /srv/cowork/data for ana@example.org");
    assert_eq!(told, "chmod o+x /srv/cowork/data for [redacted:email]");
}
