//! The page at `/`: files in the binary, which ask `/v1/stats` and `/v1/decisions` for what they show.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const PAGE: &str = include_str!("dashboard/index.html");

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type, text.
const FILES: [(&str, &str, &str); 10] = [
    ("style.css", STYLE, include_str!("dashboard/style.css")),
    ("script.js", SCRIPT, include_str!("dashboard/script.js")),
    ("server.js", SCRIPT, include_str!("dashboard/server.js")),
    ("dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    ("number.js", SCRIPT, include_str!("dashboard/number.js")),
    ("charts.js", SCRIPT, include_str!("dashboard/charts.js")),
    ("views.js", SCRIPT, include_str!("dashboard/views.js")),
    ("decision.js", SCRIPT, include_str!("dashboard/decision.js")),
    ("decisions.js", SCRIPT, include_str!("dashboard/decisions.js")),
    ("playground.js", SCRIPT, include_str!("dashboard/playground.js")),
];

/// Nothing from elsewhere, nothing inline: labels come from clients.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn page() -> Response {
    served("text/html; charset=utf-8", PAGE)
}

pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => served(kind, text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn served(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The files change with the binary alone, under the same names.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
