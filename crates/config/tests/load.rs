//! What comes out of files and variables, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Config, ConfigError};
use tempfile::TempDir;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str, environment: &[(&str, &str)]) -> (TempDir, Result<Config, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(config::FILE_NAME), text).unwrap();
    let config = Config::load(Some(Path::new(config::FILE_NAME)), &variables(environment), folder.path());
    (folder, config)
}

#[track_caller]
fn refused(text: &str, environment: &[(&str, &str)], expect: &str) {
    assert_eq!(load(text, environment).1.unwrap_err().to_string(), expect);
}

const ALL_SECRETS: &str = r#"
[secrets]
adapter_key = { reference = "env:KEY_2", version = 2, previous = [{ reference = "file:old.key", version = "1" }] }
oidc_client = { reference = "env:OIDC", version = "1" }
cookie = { reference = "file:cookie.key", version = "7" }
gateway = { reference = "env:GATEWAY", version = "1" }
channel = { reference = "env:CHANNEL", version = "1" }
"#;

#[test]
fn without_file_and_variables_everything_has_its_default() {
    let config = Config::load(None, &variables(&[]), Path::new("/srv/cowork")).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/cowork/cowork-data"));
    assert_eq!(config.objects.folder, Path::new("/srv/cowork/cowork-data/objects"));
    assert_eq!(config.worker.workspace_root, Path::new("/srv/cowork/cowork-data/workspaces"));
    assert_eq!(config.postgres_folder(), Path::new("/srv/cowork/cowork-data/postgres"));
    assert_eq!(config.web.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database.url, None);
    assert_eq!(config.secrets_folder().unwrap(), Path::new("/srv/cowork/cowork-data/secrets"));
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("etc");
    std::fs::create_dir(&base).unwrap();
    std::fs::write(base.join("cowork.toml"), "data_dir = '../data'\n[log]\nfile = 'web.log'\n").unwrap();
    let config = Config::load(Some(Path::new("etc/cowork.toml")), &variables(&[]), folder.path()).unwrap();
    assert_eq!(config.data_dir, base.join("../data"));
    assert_eq!(config.log.file, Some(base.join("web.log")));
    assert_eq!(config.base, base);
}

#[test]
fn a_variable_overrides_the_file() {
    let environment = [
        ("COWORK_WEB__LISTEN", "0.0.0.0:9000"),
        ("COWORK_DATA_DIR", "elsewhere"),
        ("COWORK_GATEWAY__MAX_ATTEMPTS", "3"),
        ("COWORK_TEST_POSTGRES", "not configuration"),
    ];
    let (folder, config) =
        load("data_dir = 'here'\n[web]\nlisten = '127.0.0.1:1'\n[gateway]\npoll_ms = 7\n", &environment);
    let config = config.unwrap();
    assert_eq!(config.web.listen.port(), 9000);
    assert_eq!(config.data_dir, folder.path().join("elsewhere"));
    assert_eq!((config.gateway.max_attempts, config.gateway.poll_ms), (3, 7));
}

#[test]
fn the_common_variable_names_the_database() {
    let url = "postgres://cowork:hunter2@db/cowork";
    let config = load("[database]\nurl = 'postgres://other/db'\n", &[("DATABASE_URL", url)]).1.unwrap();
    assert_eq!(config.database.url.as_ref().unwrap().expose(), url);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn secrets_are_named_with_their_versions() {
    let config = load(ALL_SECRETS, &[("COWORK_SECRETS__COOKIE__VERSION", "8")]).1.unwrap();
    let references = config.secret_references().references();
    let shown: Vec<_> =
        references.iter().map(|named| format!("{} {} {}", named.name, named.reference, named.version)).collect();
    assert_eq!(
        shown,
        [
            "adapter_key env:KEY_2 2",
            "oidc_client env:OIDC 1",
            "cookie file:cookie.key 8",
            "gateway env:GATEWAY 1",
            "channel env:CHANNEL 1",
            "adapter_key file:old.key 1"
        ]
    );
    assert_eq!(config.secrets_folder(), None);
}

#[test]
fn the_billing_providers_secrets_are_among_those_that_are_asked_for() {
    let stripe =
        "[billing.stripe]\napi_key = 'env:KEY'\nwebhook_secret = 'file:hook'\nreturn_url = 'https://cowork.example/'\n";
    let config = load(&format!("{stripe}{ALL_SECRETS}"), &[]).1.unwrap();
    let references = config.secret_references().references();
    let shown: Vec<_> =
        references.iter().map(|named| format!("{} {} {}", named.name, named.reference, named.version)).collect();
    assert_eq!(shown[5..7], ["billing_api_key env:KEY 1", "billing_webhook file:hook 1"]);
    assert_eq!(shown.len(), 8);
}

#[test]
fn configured_secrets_resolve_beside_the_file_and_generated_ones_in_the_data_folder() {
    let (folder, config) = load(ALL_SECRETS, &[]);
    std::fs::write(folder.path().join("cookie.key"), "c").unwrap();
    let reader = config.unwrap().secret_reader(variables(&[]));
    assert_eq!(reader.resolve(&"file:cookie.key".parse().unwrap()).unwrap().expose(), b"c");

    let (_folder, config) = load("data_dir = 'd'", &[]);
    let config = config.unwrap();
    secrets::generate(&config.secrets_folder().unwrap(), &clock::Sources::system()).unwrap();
    config.secret_references().resolve_all(&config.secret_reader(variables(&[]))).unwrap();
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    refused(
        "[web]\nlisten = '127.0.0.1:1'\nport = 3\n",
        &[],
        "web.port of cowork.toml cannot be used: there is no such key; use one of listen, \
         connections_per_address, requests_per_minute, streams_per_caller, wrong_credentials_per_minute, \
         repository_networks",
    );
    refused(
        "[objects]\n",
        &[("COWORK_SCHEDULER__POL_MS", "3")],
        "variable COWORK_SCHEDULER__POL_MS cannot be used: there is no such key; use one of listen, poll_ms",
    );
    refused(
        "datadir = 'x'",
        &[],
        "datadir of cowork.toml cannot be used: there is no such key; use one of data_dir, database, objects, ledger, \
         retention, drills, secrets, sign_in, plans, billing, web, worker, scheduler, gateway, log, telemetry",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_without_repeating_it() {
    refused(
        "[worker]\npoll_ms = 'p4ss'",
        &[],
        "worker.poll_ms of cowork.toml cannot be used: it is a text; give it a whole number, zero or more",
    );
    refused(
        "",
        &[("COWORK_WEB__LISTEN", "p4ss")],
        "variable COWORK_WEB__LISTEN cannot be used: invalid socket address syntax; correct it",
    );
    refused(
        "",
        &[("DATABASE_URL", "p4ss")],
        "database.url of variable DATABASE_URL cannot be used: a database URL starts with postgres:// or postgresql://; \
         correct it",
    );
    refused(
        "[secrets]\ncookie = { reference = 'p4ss', version = 1 }",
        &[],
        "secrets.cookie.reference of cowork.toml cannot be used: a secret reference starts with env: or file:, and this \
         text does not; correct it",
    );
}

#[test]
fn some_secrets_without_the_others_are_refused() {
    refused(
        "[secrets]\ncookie = { reference = 'env:C', version = 1 }",
        &[],
        "secrets.adapter_key of cowork.toml cannot be used: it is missing; set it",
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_the_line_but_without_its_text() {
    let error = load("data_dir = 'x'\n[database]\nurl = postgres://u:p4ss@h/d\n", &[]).1.unwrap_err();
    assert!(error.detail.starts_with("line 3: "), "{error}");
    assert!(!error.to_string().contains("p4ss"), "{error}");
}

#[test]
fn a_missing_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Config::load(Some(Path::new("none.toml")), &variables(&[]), folder.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration file none.toml was not read: entity not found; correct the path given with --config, or create \
         the file"
    );
}

#[test]
fn the_collector_of_a_machine_is_ours_unless_we_are_told_another() {
    let read = |environment: &[(&str, &str)]| {
        load("[telemetry]\notlp_endpoint = 'http://file:4318'", environment).1.unwrap().telemetry.otlp_endpoint.unwrap()
    };
    let (common, own) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "COWORK_TELEMETRY__OTLP_ENDPOINT");
    assert_eq!(read(&[]), "http://file:4318");
    assert_eq!(read(&[(common, "http://machine:4318")]), "http://machine:4318");
    assert_eq!(read(&[(common, "http://machine:4318"), (own, "http://ours:4318")]), "http://ours:4318");
    assert_eq!(load("", &[(common, "")]).1.unwrap().telemetry.otlp_endpoint, None);
    refused(
        "[telemetry]\notlp_endpoint = 'http://me:secret@collector:4318'",
        &[],
        "configuration telemetry.otlp_endpoint cannot be used: it is no plain web address; give it the collector's base \
         address, such as http://127.0.0.1:4318, without user, query and fragment",
    );
}

#[test]
fn networks_are_a_list_in_the_file_and_a_text_in_the_environment() {
    let file = "[gateway]\nallowed_networks = ['10.1.0.0/16', 'fd12::/16']";
    let read = |environment: &[(&str, &str)]| load(file, environment).1.unwrap().gateway.allowed_networks;
    assert_eq!(read(&[]), ["10.1.0.0/16".parse().unwrap(), "fd12::/16".parse().unwrap()]);
    let environment = [("COWORK_GATEWAY__ALLOWED_NETWORKS", "127.0.0.0/8, ::1/128")];
    assert_eq!(read(&environment), ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(read(&[("COWORK_GATEWAY__ALLOWED_NETWORKS", "")]), []);
}

#[test]
fn domains_are_a_list_in_the_file_and_a_text_in_the_environment() {
    let file = format!("{SIGN_IN}email_domains = ['example.org']\n");
    let read = |environment: &[(&str, &str)]| load(&file, environment).1.unwrap().sign_in.unwrap().email_domains;
    assert_eq!(read(&[]), ["example.org"]);
    let environment = [("COWORK_SIGN_IN__EMAIL_DOMAINS", "example.com, example.net")];
    assert_eq!(read(&environment), ["example.com", "example.net"]);
    assert!(read(&[("COWORK_SIGN_IN__EMAIL_DOMAINS", "")]).is_empty());
    let environment = [("COWORK_SIGN_IN__EMAIL_DOMAINS", "example.com,ada@example.org")];
    let error = load(&file, &environment).1.unwrap_err().to_string();
    assert!(error.contains("sign_in.email_domains cannot be used: one of them is no domain"), "{error}");
}

const PLANS: &str = "[plans.team]
title = 'Team'
price = 'price_1'
quotas.turns = { period = 'month', quantity_max = 1000 }
";

#[test]
fn plans_are_named_sets_of_quotas() {
    let plans = load(PLANS, &[("COWORK_PLANS__TEAM__QUOTAS__TURNS__QUANTITY_MAX", "7")]).1.unwrap().plans;
    assert_eq!(plans.of_price("price_1"), Some("team"));
    assert_eq!(plans.get("team").unwrap().allows(), "turns 7/month");
    assert!(plans.get("self-hosted").is_some(), "orgs begin with it");
}

#[test]
fn a_plan_that_cannot_work_is_refused() {
    refused(
        "[plans.'A b']",
        &[],
        "configuration plans cannot be used: one of them has a name that can't be used; name it with up to 50 lower-case \
         letters, digits and hyphens",
    );
    refused(
        &format!("{PLANS}[plans.other]\nprice = 'price_1'"),
        &[],
        "configuration plans.team cannot be used: another plan has its price; give each plan a price of its own",
    );
    refused(
        "[plans.team]\nquotas.turns = { period = 'month', quantity_max = -1 }",
        &[],
        "configuration plans.team.quotas cannot be used: a quantity_max is out of bounds; write 0 to 1000000000000000, or \
         leave the quota out to allow any number",
    );
    let secret = "[billing.stripe]\napi_key = 'sk_1'\nwebhook_secret = 'env:B'\nreturn_url = 'https://a.example/'";
    let error = load(secret, &[]).1.unwrap_err().to_string();
    assert!(error.contains("api_key") && !error.contains("sk_1"), "{error}");
}

#[test]
fn a_network_that_is_none_allows_nothing() {
    let refused = |networks: &str, detail: &str| {
        let expect = format!("gateway.allowed_networks of cowork.toml cannot be used: {detail}; correct it");
        refused(&format!("[gateway]\nallowed_networks = {networks}"), &[], &expect);
    };
    refused("['10.1.2.3']", "one of them is no network; write it as 10.1.0.0/16 or 10.1.2.3/32");
    refused("['10.1.2.3/16']", "a network begins at its first address, here 10.1.0.0/16");
    let many: Vec<String> = (0..65).map(|n| format!("10.{n}.0.0/16")).collect();
    refused(&format!("{many:?}"), "there are more than 64 networks");
}

#[test]
fn values_that_cannot_work_are_refused() {
    refused(
        "[worker]\nconcurrency = 0",
        &[],
        "configuration worker.concurrency cannot be used: it is 0; give it 1 or more",
    );
    refused(
        "[gateway]\nredirect_to = 'localhost'",
        &[],
        "configuration gateway.redirect_to cannot be used: it is no web address; give it a URL that starts with http:// \
         or https://",
    );
}

const SIGN_IN: &str = r#"
[sign_in]
issuer = "https://login.example.org/realms/acme"
client_id = "open-cowork"
redirect_url = "https://cowork.example.org/auth/callback"
"#;

#[test]
fn signing_in_takes_a_provider_and_has_defaults_for_the_rest() {
    let sign_in = load(SIGN_IN, &[("COWORK_SIGN_IN__IDLE_MINUTES", "30")]).1.unwrap().sign_in.unwrap();
    assert_eq!(sign_in.issuer, "https://login.example.org/realms/acme");
    assert_eq!((sign_in.idle_minutes, sign_in.max_hours), (30, 168));
    assert!(sign_in.email_domains.is_empty());
    let local = SIGN_IN.replace("https://cowork.example.org", "http://127.0.0.1:8080");
    load(&local, &[]).1.unwrap();
}

#[test]
fn an_address_that_would_give_secrets_away_is_refused() {
    refused(
        &SIGN_IN.replace("https://login", "http://login"),
        &[],
        "configuration sign_in.issuer cannot be used: it is no https address; give it a URL that starts with https://; \
        http:// is for this machine itself",
    );
    refused(
        &SIGN_IN.replace("/auth/callback", "/"),
        &[],
        "configuration sign_in.redirect_url cannot be used: its path is not /auth/callback; end it with that path",
    );
    refused(
        &SIGN_IN.replace("/auth/callback", "/auth/callback?next=1"),
        &[],
        "configuration sign_in.redirect_url cannot be used: it has more than host, port and path; leave the rest out",
    );
    refused(
        &format!("{SIGN_IN}email_domains = ['ada@example.org']\n"),
        &[],
        "configuration sign_in.email_domains cannot be used: one of them is no domain; write what stands after the @, \
        such as example.org",
    );
    refused(
        &format!("{SIGN_IN}idle_minutes = 1\n"),
        &[],
        "configuration sign_in.idle_minutes cannot be used: it is 1; give it 5 or more",
    );
}
