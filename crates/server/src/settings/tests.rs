//! What holds and what is refused, and where the refusal points.

use super::*;

fn refused(text: &str, part: &str) {
    let message = Settings::parse(text).unwrap_err().to_string();
    assert!(message.contains(part), "{message}");
}

fn catalog() -> Catalog {
    let tier = |name: &str| Tier {
        name: name.to_owned(),
        class: 2,
        input_usd_per_mtok: 1.0,
        output_usd_per_mtok: 2.0,
        cached_input_usd_per_mtok: None,
        context_window: None,
        capabilities: Capabilities::default(),
        latency_p95_s: None,
    };
    Catalog::new(vec![tier("large"), tier("small")]).unwrap()
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(Settings::parse("").unwrap(), Settings::default());
}

#[test]
fn refusals_say_where_and_what_to_change() {
    refused("listen = \"127.0.0.1:80\"\nqueue_size = 3", "line 2");
    refused("\n\nworkers = \"two\"", "line 3");
    refused("listen = \"here\"", "listen = \"here\"");
    refused("queue_capacity = 0", "`queue_capacity` is 0; it must be 1 to 65536");
    refused("workers = 65", "`workers` is 65");
    refused("max_concurrency = 0", "`max_concurrency`");
    refused("body_limit_bytes = 0", "`body_limit_bytes`");
    refused("request_timeout_ms = 0", "`request_timeout_ms`");
    refused("cohorts = [\"\"]", "`cohorts`");
    refused(
        "[tiers.\"a b\"]\ninput_usd_per_mtok = -1",
        "`tiers.\"a b\".input_usd_per_mtok` must be US dollars",
    );
    refused("[tiers.a]\noutput_usd_per_mtok = nan", "output_usd_per_mtok");
    refused("[tiers.a]\ncontext_window = 0", "context_window");
    refused("[tiers.a]\nlatency_p95_s = 0", "latency_p95_s");
    refused("[tiers.a]\ncapabilities = { sight = true }", "sight");
}

#[test]
fn a_key_where_none_belongs_is_not_repeated() {
    for text in [
        "[keys.app]\nkey = \"hush-hush\"",
        "\n[keys]\napp = \"hush-hush\"\nsecret = 5",
        "[keys.app]\nsha256 = 3 # sk-hush-hush",
        "[tiers.a.endpoint]\nbase_url = \"http://h\"\napi_key = \"hush-hush\"",
        "[tiers.a]\nendpoint = { base_url = \"http://h\", api_key_env = \"hush-hush\" }",
        "admin_secret = \"hush-hush",
        "[admin]\nsha256 = \"sk-hush-hush\"",
    ] {
        let message = Settings::parse(text).unwrap_err().to_string();
        assert!(!message.contains("hush"), "{text}: {message}");
        assert!(message.contains("line"), "{text}: {message}");
    }
}

#[test]
fn what_is_shown_holds_and_hides_digests() {
    let digest = "ab".repeat(32);
    let text = format!(
        "cohorts = [\"gold\"]\n[keys.a]\nsha256 = \"{digest}\"\n[keys.b]\nenv = \"B_KEY\"\ncohort = \"gold\"\n\
         [admin]\nsha256 = \"{digest}\"\n[tiers.a.endpoint]\nbase_url = \"http://h/v1\"\n"
    );
    let settings = Settings::parse(&text).unwrap();
    let shown = settings.shown(toml::Table::new(), toml::Table::new()).unwrap();
    assert!(!shown.contains("abab") && shown.contains("timeout_s = 60"), "{shown}");
    assert_eq!(
        Settings::parse(&shown.replace("(not shown)", &digest)).unwrap(),
        settings
    );
}

#[test]
fn an_open_address_needs_consent() {
    refused("listen = \"0.0.0.0:8080\"", "allow_without_key = true");
    assert!(Settings::parse("listen = \"0.0.0.0:8080\"\nallow_without_key = true").is_ok());
    let open = SocketAddr::from(([0, 0, 0, 0], 1));
    assert_eq!(Settings::default().listening_on(open), Err(SettingsError::NoKeys(open)));
}

#[test]
fn prices_and_capabilities_are_laid_over_the_catalog() {
    let text = "[tiers.small]\ninput_usd_per_mtok = 5\ncontext_window = 9\ncapabilities = { vision = true }";
    let catalog = Settings::parse(text).unwrap().served(&catalog()).unwrap().catalog;
    let small = &catalog.tiers()[1];
    assert_eq!(
        (
            small.input_usd_per_mtok,
            small.output_usd_per_mtok,
            small.context_window
        ),
        (5.0, 2.0, Some(9))
    );
    assert_eq!(
        small.capabilities,
        Capabilities {
            tools: true,
            json_schema: true,
            vision: true
        }
    );
    assert_eq!(catalog.tiers()[0], super::tests::catalog().tiers()[0]);
}

#[test]
fn a_tier_that_is_not_there() {
    for text in [
        "[tiers.tiny]\ncontext_window = 9",
        "safe_tier = \"tiny\"",
        "[tiers.mine]\npredict_as = \"tiny\"",
    ] {
        let message = Settings::parse(text)
            .unwrap()
            .served(&catalog())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("`tiny`") && message.contains("large, small"),
            "{message}"
        );
    }
}
