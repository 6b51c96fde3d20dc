//! Both stores through the same cases, and each through what only it can suffer.

mod cases;
mod contract;
mod crowd;
mod kill;
mod server;
mod sqlite;
mod valkey;
