//! Accounts in a Valkey or Redis server (7 or newer): the store for several replicas.
//!
//! Each operation is one Lua script, which the server runs whole. All keys of a deployment share a hash
//! tag, so a cluster keeps them on one node; the address must be that node's. The server needs
//! `maxmemory-policy noeviction`, or it forgets what was spent, and `appendonly yes` to survive its own end.
//! `rediss://` speaks TLS (rustls on ring, the roots of the system).
//!
//! Sums hold up to 2^63 nano-dollars, nine billion dollars. Replicas compare holds with their own clocks:
//! let holds expire later than the clocks differ.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, ScriptInvocation, ServerErrorKind};
use tokio::time::timeout;

mod scripts;

use self::scripts::Scripts;
use crate::account::{Account, check_name};
use crate::amount::Amount;
use crate::error::BudgetError;
use crate::store::{Answer, Claim, Reservation, Standing, Store, check_accounts, check_id, check_now, id_in_use};

/// Calls that may wait to be written to the connection.
const QUEUE: usize = 1024;

/// Between two tries to connect, which callers may be waiting for.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The store; share it in an `Arc`. It connects again by itself.
pub struct ValkeyStore {
    /// Without credentials.
    name: String,
    connection: ConnectionManager,
    scripts: Scripts,
    time_limit: Duration,
}

impl ValkeyStore {
    /// Connects to `url`, such as `redis://:PASSWORD@HOST:6379/0` or `rediss://HOST`. Deployments on one
    /// server are kept apart by the name `deployment`. Every call is answered within `time_limit`.
    /// [`BudgetError::Unavailable`] where the server is not there, [`BudgetError::Invalid`] where the URL or the
    /// name cannot be.
    pub async fn connect(url: &str, deployment: &str, time_limit: Duration) -> Result<Self, BudgetError> {
        let (name, client, config) = described(url, deployment, time_limit)?;
        let connected = timeout(time_limit, ConnectionManager::new_with_config(client, config)).await;
        let connection = match connected {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(unavailable(&name, &error)),
            Err(_) => return Err(late(&name, time_limit)),
        };
        Ok(Self {
            name,
            connection,
            scripts: Scripts::new(deployment),
            time_limit,
        })
    }

    /// The same for a server that need not be there yet: it is connected to when it is first asked.
    pub fn connect_later(url: &str, deployment: &str, time_limit: Duration) -> Result<Self, BudgetError> {
        let (name, client, config) = described(url, deployment, time_limit)?;
        let connection =
            ConnectionManager::new_lazy_with_config(client, config).map_err(|error| unavailable(&name, &error))?;
        Ok(Self {
            name,
            connection,
            scripts: Scripts::new(deployment),
            time_limit,
        })
    }

    /// What the script answers. A connection that was found broken is tried once more: the same id twice is
    /// the same operation.
    async fn ask(&self, call: &ScriptInvocation<'_>) -> Result<Vec<String>, BudgetError> {
        let mut connection = self.connection.clone();
        let asked = timeout(self.time_limit, async {
            match call.invoke_async(&mut connection).await {
                Err(error) if error.is_connection_dropped() => call.invoke_async(&mut connection).await,
                answered => answered,
            }
        });
        match asked.await {
            Ok(answered) => answered.map_err(|error| unavailable(&self.name, &error)),
            Err(_) => Err(late(&self.name, self.time_limit)),
        }
    }

    fn strange(&self) -> BudgetError {
        BudgetError::Unavailable {
            store: self.name.clone(),
            why: "its answer cannot be read: another version of tiercast may use the same deployment name".to_owned(),
        }
    }
}

/// Name for messages, client and settings of a connection.
fn described(
    url: &str,
    deployment: &str,
    time_limit: Duration,
) -> Result<(String, Client, ConnectionManagerConfig), BudgetError> {
    check_deployment(deployment)?;
    // Fails where the process has chosen already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::open(url).map_err(|_| {
        // What it says may repeat the password.
        BudgetError::Invalid("the URL of Valkey cannot be: write redis://[:PASSWORD@]HOST[:PORT][/DATABASE]".to_owned())
    })?;
    let name = format!("Valkey at {}", client.get_connection_info().addr());
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(BETWEEN_TRIES)
        .set_max_delay(BETWEEN_TRIES)
        .set_connection_timeout(Some(time_limit))
        .set_response_timeout(Some(time_limit))
        .set_pipeline_buffer_size(QUEUE);
    Ok((name, client, config))
}

impl Store for ValkeyStore {
    fn reserve<'a>(&'a self, reservation: &'a Reservation) -> Answer<'a, ()> {
        Box::pin(async {
            reservation.check()?;
            let answer = self.ask(&self.scripts.reserve(reservation)).await?;
            match answer.first().map(String::as_str) {
                Some("held") => Ok(()),
                Some("used") => Err(id_in_use(&reservation.id)),
                _ => Err(refused(reservation, &answer).unwrap_or_else(|| self.strange())),
            }
        })
    }

    fn settle<'a>(&'a self, id: &'a str, accounts: &'a [Account], used: Amount, now_ms: i64) -> Answer<'a, ()> {
        Box::pin(async move {
            check_id(id)?;
            check_now(now_ms)?;
            check_accounts(accounts.iter())?;
            self.ask(&self.scripts.settle(id, accounts, used, now_ms))
                .await
                .map(|_| ())
        })
    }

    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async {
            check_id(id)?;
            self.ask(&self.scripts.release(id)).await.map(|_| ())
        })
    }

    fn standing<'a>(&'a self, accounts: &'a [Account], now_ms: i64) -> Answer<'a, Vec<Standing>> {
        Box::pin(async move {
            check_now(now_ms)?;
            let answer = self.ask(&self.scripts.standing(accounts, now_ms)).await?;
            let all: Option<Vec<Standing>> = answer.chunks(4).map(read).collect();
            all.filter(|all| all.len() == accounts.len())
                .ok_or_else(|| self.strange())
        })
    }

    fn sweep(&self, now_ms: i64) -> Answer<'_, ()> {
        // What is old the server forgets by itself.
        Box::pin(async move { self.standing(&[], now_ms).await.map(|_| ()) })
    }
}

impl fmt::Debug for ValkeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyStore")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn check_deployment(name: &str) -> Result<(), BudgetError> {
    check_name("deployment", name)?;
    if name.is_empty() || name.contains(['{', '}']) {
        return Err(BudgetError::Invalid(format!(
            "`{name}` cannot name a deployment: give a name without braces"
        )));
    }
    Ok(())
}

/// Nothing where the answer is none.
fn refused(reservation: &Reservation, answer: &[String]) -> Option<BudgetError> {
    let [word, number, sums @ ..] = answer else {
        return None;
    };
    let Claim { account, limit } = reservation.claims.get(number.parse::<usize>().ok()?)?;
    (word == "refused").then_some(BudgetError::Refused {
        account: account.clone(),
        left: limit.left(read(sums)?.taken()),
        asked: reservation.amount,
    })
}

fn read(sums: &[String]) -> Option<Standing> {
    let numbers: Vec<i64> = sums.iter().map(|sum| sum.parse().ok()).collect::<Option<_>>()?;
    let &[spent_nano_usd, spent_tokens, held_nano_usd, held_tokens] = numbers.as_slice() else {
        return None;
    };
    Some(Standing {
        spent: Amount::stored(spent_nano_usd, spent_tokens),
        held: Amount::stored(held_nano_usd, held_tokens),
    })
}

fn unavailable(store: &str, error: &RedisError) -> BudgetError {
    let mend = match error.kind() {
        ErrorKind::AuthenticationFailed => ". Check the password in its URL",
        ErrorKind::Server(ServerErrorKind::Moved) => {
            ". It is a cluster that keeps these keys on another node: give that node's address"
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly) => ". It is a replica: give the primary's address",
        _ if error.is_io_error() => ". Check that it runs and can be reached",
        _ => "",
    };
    BudgetError::Unavailable {
        store: store.to_owned(),
        why: format!("{error}{mend}"),
    }
}

fn late(store: &str, time_limit: Duration) -> BudgetError {
    BudgetError::Unavailable {
        store: store.to_owned(),
        why: format!("it took longer than {time_limit:?}. Check that it runs and can be reached"),
    }
}
