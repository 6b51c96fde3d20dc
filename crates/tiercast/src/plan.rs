//! `tiercast plan FILE`: a budget divided among the steps of a task, as `POST /v1/plans` does it.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use tiercast_predictor::predictor::Predictor;
use tiercast_server::deployment::Deployment;
use tiercast_server::plans::{PlanRequest, view};
use tiercast_server::settings::Settings;

use crate::arguments::{PlanArguments, UsageError};
use crate::commands::open;
use crate::output::{print, print_json};

/// Plans and prints.
pub(crate) fn run(arguments: &PlanArguments) -> anyhow::Result<()> {
    let reading = || format!("reading {}", arguments.file.display());
    let bytes = std::fs::read(&arguments.file).with_context(reading)?;
    let refused = |error: &dyn std::fmt::Display| UsageError(format!("{}: {error}", arguments.file.display()));
    let request = PlanRequest::read(&bytes).map_err(|error| refused(&error))?;
    let predictor = open(&arguments.checkpoint, arguments.device)?;
    let deployment = deployment(&predictor, arguments.config.as_deref())?;
    let features: Vec<_> = request.requests().map(|request| predictor.features(&request)).collect();
    let task = request.task(&deployment, &predictor.assess(&features), None);
    let plan = task.solve().map_err(|error| refused(&error))?;
    let plan = view(&plan, &deployment);
    if arguments.json {
        print_json(&plan)?;
    } else {
        print(table(&plan).trim_end());
    }
    Ok(())
}

fn deployment(predictor: &Predictor, config: Option<&Path>) -> anyhow::Result<Deployment> {
    let settings = match config {
        None => Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            Settings::parse(&text).with_context(|| format!("in {}", path.display()))?
        }
    };
    let levels = predictor.service_levels();
    Ok(Deployment::new(predictor.catalog(), predictor.id(), levels, &settings)?)
}

fn table(plan: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = plan["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = steps.iter().map(|step| {
        [
            text(&step["id"]),
            text(&step["tier"]),
            format!("{:.3}", number(&step["quality_mean"])),
            format!("${:.6}", number(&step["cost_usd"])),
            text(&step["why_in_words"]),
        ]
    });
    let heading = ["step", "tier", "quality", "cost", "why"].map(str::to_owned);
    let lines: Vec<[String; 5]> = std::iter::once(heading).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut table = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        table += cells.collect::<Vec<_>>().join("  ").trim_end();
        table.push('\n');
    }
    let bound = match number(&plan["gap"]) {
        0.0 => "proven best".to_owned(),
        gap => format!("at most {gap:.2e} under the best"),
    };
    table += &format!(
        "\n${:.6} of ${:.6} (the least would be ${:.6}); quality {:.3} over the steps, weighed by importance, {bound}\n",
        number(&plan["cost_usd"]),
        number(&plan["budget_usd"]) - number(&plan["spent_usd"]),
        number(&plan["least_usd"]),
        number(&plan["quality"]),
    );
    table
}
