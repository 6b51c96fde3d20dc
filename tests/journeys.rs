//! Whole journeys, driven the way a user would: the binary, files, HTTP.

mod architecture;
mod bad_checkpoints;
mod bad_requests;
mod bad_rows;
mod bad_usage;
mod fixture;
mod http;
mod interruption;
mod parity;
mod pipeline;
mod reference;
mod repeatable;
mod run;
mod whole;
