//! The scripts, each of which runs whole on the server, and their arguments.

use std::time::Duration;

use redis::{Script, ScriptInvocation};

use crate::account::Account;
use crate::amount::Amount;
use crate::store::{DAYS_KEPT, REMEMBERED_MS, Reservation, SESSION_DAYS_KEPT};

const DAY: Duration = Duration::from_hours(24);

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("common.lua"), include_str!($name)))
    };
}

/// Loaded where a server does not know them yet.
pub(super) struct Scripts {
    /// Before every key, with the hash tag of the deployment.
    base: String,
    reserve: Script,
    settle: Script,
    release: Script,
    standing: Script,
}

impl Scripts {
    pub(super) fn new(deployment: &str) -> Self {
        Self {
            base: format!("{{tiercast-{deployment}}}:"),
            reserve: script!("reserve.lua"),
            settle: script!("settle.lua"),
            release: script!("release.lua"),
            standing: script!("standing.lua"),
        }
    }

    pub(super) fn reserve(&self, reservation: &Reservation) -> ScriptInvocation<'_> {
        let mut call = self.keeping(&self.reserve, &reservation.id);
        call.arg(reservation.now_ms).arg(reservation.expires_at_ms);
        add(&mut call, reservation.amount);
        let limit = |limit: Option<i64>| limit.map(|units| units.to_string()).unwrap_or_default();
        for claim in &reservation.claims {
            call.arg(claim.account.key(reservation.now_ms));
            call.arg(limit(claim.limit.nano_usd())).arg(limit(claim.limit.tokens()));
        }
        call
    }

    pub(super) fn settle(&self, id: &str, accounts: &[Account], used: Amount, now_ms: i64) -> ScriptInvocation<'_> {
        let mut call = self.keeping(&self.settle, id);
        add(&mut call, used);
        for account in accounts {
            call.arg(account.key(now_ms));
        }
        call
    }

    pub(super) fn release(&self, id: &str) -> ScriptInvocation<'_> {
        let mut call = self.call(&self.release);
        call.arg(id);
        call
    }

    pub(super) fn standing(&self, accounts: &[Account], now_ms: i64) -> ScriptInvocation<'_> {
        let mut call = self.call(&self.standing);
        call.arg(now_ms);
        for account in accounts {
            call.arg(account.key(now_ms));
        }
        call
    }

    /// One that touches accounts, and so says how long they are kept.
    fn keeping<'a>(&'a self, script: &'a Script, id: &str) -> ScriptInvocation<'a> {
        let mut call = self.call(script);
        for n_days in [DAYS_KEPT, SESSION_DAYS_KEPT] {
            call.arg(n_days * DAY.as_secs() as i64);
        }
        call.arg(id);
        call
    }

    /// The one key that is named tells a cluster the node; the others lie beside it.
    fn call<'a>(&'a self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.key(format!("{}expiring", self.base));
        call.arg(&self.base).arg(REMEMBERED_MS);
        call
    }
}

fn add(call: &mut ScriptInvocation<'_>, amount: Amount) {
    call.arg(amount.nano_usd()).arg(amount.tokens());
}
