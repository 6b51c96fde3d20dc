//! The model card of a checkpoint.

use std::fmt::Write as _;

use tiercast_predictor::checkpoint::Contents;

/// The card as Markdown: what it is, what it was trained on, what it is not for.
pub fn card(contents: &Contents) -> String {
    let provenance = &contents.provenance;
    let mut text = String::from("# tiercast checkpoint\n\n");
    let mut line = |what: std::fmt::Arguments<'_>| text.write_fmt(what).expect("writing to a string cannot fail");
    line(format_args!(
        "Predicts, from a prompt alone, how good the answer of each of {} tiers will be (a distribution over [0, 1]) \
         and how long; `tiercast` routes on it.\n\n",
        contents.tiers().count()
    ));
    line(format_args!(
        "| tier | class | USD / M input tokens | USD / M output tokens |\n| --- | --- | --- | --- |\n"
    ));
    for tier in contents.tiers() {
        line(format_args!(
            "| {} | {} | {} | {} |\n",
            tier.name, tier.class, tier.input_usd_per_mtok, tier.output_usd_per_mtok
        ));
    }
    line(format_args!(
        "\nPrices are those the outcome rows imply (a lower bound for a tier whose costs are partial, see below); override them in `tiercast.toml`.\n\n## Training\n\n"
    ));
    for (name, value) in &provenance.counts {
        line(format_args!("- {name}: {value}\n"));
    }
    for data in &provenance.data {
        line(format_args!("- data: {} (sha256 {})\n", data.file, data.sha256));
    }
    line(format_args!(
        "- {} parameters in {} members; seed {}; {} backend; {} encoder; tiercast {}\n",
        contents.network.n_params(),
        contents.network.n_members,
        provenance.seed,
        provenance.device,
        provenance.encoder,
        provenance.code_version
    ));
    for (name, value) in &provenance.validation {
        line(format_args!("- validation {name}: {value:.4}\n"));
    }
    let levels = contents.calibration.service_levels;
    line(format_args!(
        "\nService levels (floors on expected quality, fitted on validation): `auto` {:.3} keeps 99 % of the best \
         single tier's quality, `auto:cheap` {:.3} keeps 95 %.\n",
        levels.auto, levels.cheap
    ));
    if let Some(cascade) = &contents.cascade {
        line(format_args!(
            "\nCascade (policy `cascade`): {}, an answer is taken from an estimated quality of {:.2} on; on validation it keeps \
             {:.3} at ${:.6} a prompt, every call counted.\n",
            cascade.stages.join(", then "),
            cascade.thresholds.first().copied().unwrap_or_default(),
            cascade.quality,
            cascade.cost_usd
        ));
    }
    if let Some(certificate) = &contents.calibration.certificate {
        line(format_args!("\nGuarantee: {}.\n", certificate.sentence()));
    }
    line(format_args!(
        "\n## Limits\n\n- It knows the tasks it was trained on; on others its confidence means little.\n"
    ));
    line(format_args!(
        "- Quality is what the outcome rows call quality; tiers it has not seen it cannot judge.\n"
    ));
    for added in &contents.added {
        line(format_args!(
            "- {} was added later, from {} judged prompts: its forecast is a function of those of the trained tiers.\n",
            added.tier.name, added.n_prompts
        ));
    }
    for note in &provenance.notes {
        line(format_args!("- {note}\n"));
    }
    text
}
