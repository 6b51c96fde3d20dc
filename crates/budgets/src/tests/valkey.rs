//! What happens to servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contract::{NOON_MS, account, amount, contract, reservation};
use super::server::Server;
use crate::account::{Account, Period, Scope};
use crate::amount::Limit;
use crate::error::BudgetError;
use crate::store::{Claim, Store};
use crate::valkey::ValkeyStore;

const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_keeps_the_contract() {
    let Some(server) = Server::start(&[]) else { return };
    let store: Arc<dyn Store> = Arc::new(connect(&server).await);
    contract(&store).await;
}

#[tokio::test]
async fn replicas_share_and_deployments_do_not() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = [connect(&server).await, connect(&server).await];
    let elsewhere = ValkeyStore::connect(&server.url(), "elsewhere", LIMIT).await.unwrap();
    let asked = |id: &str| reservation(id, &[claim()], amount(1.0));
    one.reserve(&asked("a")).await.unwrap();
    assert!(matches!(
        other.reserve(&asked("b")).await,
        Err(BudgetError::Refused { .. })
    ));
    elsewhere.reserve(&asked("a")).await.unwrap();
    other.settle("a", &[team()], amount(0.5), NOON_MS).await.unwrap();
    assert_eq!(one.standing(&[team()], NOON_MS).await.unwrap()[0].spent, amount(0.5));
}

/// All keys of a call lie on one node, so a cluster runs the scripts.
#[tokio::test]
async fn a_node_of_a_cluster_will_do() {
    let Some(server) = Server::start(&["--cluster-enabled", "yes"]) else {
        return;
    };
    let store = connect(&server).await;
    said(&store.sweep(NOON_MS).await.unwrap_err(), &["Hash slot not served"]);
    let client = redis::Client::open(server.url()).unwrap();
    let mut plain = client.get_multiplexed_async_connection().await.unwrap();
    let all = ["ADDSLOTSRANGE", "0", "16383"];
    let _: String = redis::cmd("CLUSTER").arg(&all).query_async(&mut plain).await.unwrap();
    while store.reserve(&reservation("a", &[claim()], amount(0.4))).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.settle("a", &[team()], amount(0.3), NOON_MS).await.unwrap();
    assert_eq!(store.standing(&[team()], NOON_MS).await.unwrap()[0].spent, amount(0.3));
}

/// The server is killed and comes back with all it had answered; the store finds it by itself.
#[tokio::test]
async fn a_server_that_was_killed() {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Server::start(&arguments) else {
        return;
    };
    let store = connect(&server).await;
    store.reserve(&reservation("a", &[claim()], amount(0.4))).await.unwrap();
    store.settle("b", &[team()], amount(0.3), NOON_MS).await.unwrap();
    server.stop();
    let began = Instant::now();
    for _ in 0..3 {
        let error = store
            .reserve(&reservation("c", &[claim()], amount(0.1)))
            .await
            .unwrap_err();
        said(&error, &["Valkey at 127.0.0.1:", "Check that it runs"]);
    }
    assert!(began.elapsed() < 3 * LIMIT, "{:?}", began.elapsed());
    server.restart();
    // Loading its log it may still refuse.
    while store.release("nothing").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let standing = store.standing(&[team()], NOON_MS).await.unwrap()[0];
    assert_eq!((standing.spent, standing.held), (amount(0.3), amount(0.4)));
}

#[tokio::test]
async fn a_server_that_hangs_is_told_in_time() {
    let Some(server) = Server::start(&[]) else { return };
    let limit = Duration::from_millis(300);
    let store = ValkeyStore::connect(&server.url(), "test", limit).await.unwrap();
    server.signal("STOP");
    let began = Instant::now();
    let error = store
        .reserve(&reservation("a", &[claim()], amount(1.0)))
        .await
        .unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    said(&error, &["Check that it runs and can be reached"]);
    server.signal("CONT");
    // Whether it happened or not, asking again is safe.
    while store.reserve(&reservation("a", &[claim()], amount(1.0))).await.is_err() {}
    assert_eq!(store.standing(&[team()], NOON_MS).await.unwrap()[0].held, amount(1.0));
}

#[tokio::test]
async fn scripts_that_the_server_forgot() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server).await;
    store.sweep(NOON_MS).await.unwrap();
    let mut plain = redis::Client::open(server.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let _: String = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut plain).await.unwrap();
    store.sweep(NOON_MS).await.unwrap();
}

/// Days and sessions have an end of their own, totals of keys have none; a call that ended is forgotten.
#[tokio::test]
async fn old_keys_end() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server).await;
    let accounts = [
        account(Scope::Key, "team", Period::Day),
        account(Scope::Session, "session", Period::Total),
        team(),
    ];
    store.settle("a", &accounts, amount(0.1), NOON_MS).await.unwrap();
    let mut plain = redis::Client::open(server.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let mut ends = Vec::new();
    for key in [
        "account:key:day-20000:team",
        "account:session:total:session",
        "account:key:total:team",
        "hold:a",
    ] {
        let key = format!("{{tiercast-test}}:{key}");
        let seconds: i64 = redis::cmd("TTL").arg(&key).query_async(&mut plain).await.unwrap();
        ends.push(if seconds < 0 { seconds } else { (seconds + 60) / 3600 });
    }
    assert_eq!(ends, [8 * 24, 90 * 24, -1, 1]);
}

#[tokio::test]
async fn servers_that_cannot_be() {
    let check = async |url: &str, deployment: &str, parts: &[&str]| {
        let error = ValkeyStore::connect(url, deployment, LIMIT)
            .await
            .unwrap_err()
            .to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    check("http://:hunter2@localhost", "test", &["redis://"]).await;
    check("redis://localhost", "a{b}", &["without braces"]).await;
    check("redis://localhost", "", &["without braces"]).await;
    check(
        "redis://:hunter2@127.0.0.1:1",
        "test",
        &["Valkey at 127.0.0.1:1", "Check that it runs"],
    )
    .await;
    let Some(server) = Server::start(&["--requirepass", "secret"]) else {
        return;
    };
    let port = server.port();
    check(
        &format!("redis://:hunter2@127.0.0.1:{port}"),
        "test",
        &["Check the password"],
    )
    .await;
    // No TLS is spoken there; what matters is that ours is set up.
    check(
        &format!("rediss://:hunter2@127.0.0.1:{port}"),
        "test",
        &["does not answer"],
    )
    .await;
    ValkeyStore::connect(&format!("redis://:secret@127.0.0.1:{port}"), "test", LIMIT)
        .await
        .unwrap();
}

async fn connect(server: &Server) -> ValkeyStore {
    ValkeyStore::connect(&server.url(), "test", LIMIT).await.unwrap()
}

fn team() -> Account {
    account(Scope::Key, "team", Period::Total)
}

fn claim() -> Claim {
    Claim {
        account: team(),
        limit: Limit::new(Some(1.0), None).unwrap(),
    }
}

fn said(error: &BudgetError, parts: &[&str]) {
    let text = error.to_string();
    assert!(matches!(error, BudgetError::Unavailable { .. }), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}
