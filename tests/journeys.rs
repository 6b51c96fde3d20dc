//! Whole journeys, driven the way a user would: the binary, files, HTTP.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as its test does")]

mod architecture;
mod bad_checkpoints;
mod bad_requests;
mod bad_rows;
mod bad_usage;
mod budgets;
mod cascade;
mod cascade_evidence;
mod clients;
mod collect;
mod config;
mod dashboard;
mod doubt;
mod drift;
mod encoders;
mod endpoint;
mod fixture;
mod gateway;
mod http;
mod interruption;
mod journal;
mod judge;
mod judge_journal;
mod metrics;
mod parity;
mod pipeline;
mod plans;
mod policies;
mod reference;
mod repeatable;
mod replay;
mod run;
mod suites;
mod tier;
mod traces;
mod trouble;
mod whole;
