//! A small report made by hand: five tiers, plausible figures, no chance.

use tiercast_records::outcomes::Split;

use crate::report::{
    Certified, CheckpointInfo, CostHeadRow, CostShare, CoveragePoint, DataSummary, Difference, DomainCalibration,
    DomainRow, Estimate, GateDifference, GateReport, GateSide, MethodCalibration, MethodKind, MethodReport,
    OperatingPoint, Point, PredictionQuality, PredictionReport, QualityRetained, References, ReliabilityBin, Report,
    RoutedCalibration, SCHEMA_VERSION, SelectiveArea, SelectiveOrder, SelectiveReference, SelectiveReport, SweepPoint,
    TierSummary, Verdict,
};

/// Name, class, quality, US dollars per 1,000 requests.
const TIERS: [(&str, u8, f64, f64); 5] = [
    ("small-8b", 1, 0.52, 0.05),
    ("middle-27b", 2, 0.63, 0.21),
    ("middle-70b-instruct", 2, 0.642, 0.26),
    ("large-reasoner", 3, 0.731, 2.4),
    ("frontier", 4, 0.742, 4.1),
];
const BEST: usize = 4;

/// The report.
pub(super) fn report() -> Report {
    let mut methods = vec![
        curve("tiercast", "tiercast", MethodKind::Tiercast, 0.012),
        curve("prompt_length", "Prompt length", MethodKind::Learned, -0.012),
        curve("knn", "kNN on embeddings", MethodKind::Learned, 0.002),
        curve(
            "subset_table",
            "Subset table (knows the label)",
            MethodKind::KnowsLabel,
            0.006,
        ),
        curve("shuffled", "Shuffled labels (kNN)", MethodKind::Control, -0.02),
    ];
    methods[2].setting = "k = 40 of [5, 10, 40]".to_owned();
    methods[0].operating_points = vec![
        operating("auto", Some(0.7), 0.735, 1.9),
        operating("auto:cheap", Some(0.5), 0.66, 0.34),
        operating("validated", None, 0.737, 2.1),
    ];
    methods.extend((0..TIERS.len()).map(single));
    methods.push(curve(
        "random_mix",
        "Random mix of single tiers",
        MethodKind::RandomMix,
        -0.016,
    ));
    methods.push(curve(
        "oracle",
        "Oracle (cheapest among best)",
        MethodKind::Oracle,
        0.12,
    ));
    let difference = |method: &str, value: f64| Difference {
        method: method.to_owned(),
        metric: "aiq".to_owned(),
        difference: around(value, 0.006),
        significant: value.abs() > 0.006,
    };
    Report {
        schema_version: SCHEMA_VERSION,
        checkpoint: CheckpointInfo {
            id: "reference-1".to_owned(),
            n_params: 1_234_567,
            encoder: "n-grams and a static embedding".to_owned(),
            commit: String::new(),
            data_hash: "3f9a".to_owned(),
        },
        data: DataSummary {
            datasets: vec!["llmrouter".to_owned(), "routellm".to_owned()],
            split: Split::Test,
            n_items: 1818,
            n_left_out: 12,
            n_groups: 1790,
            n_train: 8000,
            n_validation: 1000,
            is_binary: true,
            seed: 7,
            n_bootstrap: 1000,
        },
        tiers: TIERS.map(tier).to_vec(),
        references: References {
            best_single: BEST,
            cheapest: 0,
            dearest: BEST,
            cost_min_usd: TIERS[0].3 / 1000.0,
            cost_max_usd: TIERS[BEST].3 / 1000.0,
            auto_floor: 0.7,
            cheap_floor: 0.5,
        },
        methods,
        differences: vec![
            difference("prompt_length", 0.024),
            difference("knn", 0.004),
            difference("subset_table", 0.003),
            difference("shuffled", 0.032),
            difference("random_mix", 0.028),
            difference("oracle", -0.1),
        ],
        slices: Vec::new(),
        domains: [
            ("code", 412, 0.04),
            ("mathematics", 380, -0.08),
            ("writing", 1026, 0.01),
        ]
        .map(domain)
        .to_vec(),
        prediction: PredictionReport {
            target: 0.5,
            pooled: prediction("all", 9090, 0.65),
            tiers: TIERS
                .map(|(name, _, quality, _)| prediction(name, 1818, quality))
                .to_vec(),
            methods: [("tiercast", 0.171), ("knn", 0.176)].map(calibration).to_vec(),
            routed: vec![RoutedCalibration {
                tier: "frontier".to_owned(),
                n: 700,
                mean_predicted: 0.61,
                mean_observed: 0.6,
                event_predicted: 0.615,
                event_observed: 0.6,
                ece_mass: 0.03,
                ece_mass_floor: 0.022,
                verdict: Verdict::Calibrated,
                reliability: prediction("frontier", 700, 0.6).reliability,
            }],
            domains: [
                ("code", 2060, 0.062, Verdict::TooHigh),
                ("mathematics", 1900, 0.041, Verdict::Uneven),
                ("writing", 5130, 0.02, Verdict::Calibrated),
            ]
            .map(domain_calibration)
            .to_vec(),
        },
        selective: selective(),
        cost_head: TIERS.map(|(name, ..)| cost_head(name)).to_vec(),
        certified: Some(Certified {
            weak: "small-8b".to_owned(),
            strong: "frontier".to_owned(),
            alpha: 0.05,
            delta: 0.05,
            weak_share_validation: 0.25,
            weak_share: 0.244,
            loss_rate: Some(0.031),
        }),
        notes: vec!["All learned baselines route with tiercast's cost forecast.".to_owned()],
    }
}

fn around(value: f64, half: f64) -> Estimate {
    Estimate {
        value,
        low: value - half,
        high: value + half,
    }
}

fn tier((name, class, quality, cost): (&str, u8, f64, f64)) -> TierSummary {
    TierSummary {
        name: name.to_owned(),
        class,
        quality,
        cost_usd: cost / 1000.0,
        whole_cost_share: 1.0,
    }
}

/// A method whose hull is that of the single tiers, lifted.
fn curve(name: &str, label: &str, kind: MethodKind, lift: f64) -> MethodReport {
    let corners = [TIERS[0], TIERS[1], TIERS[3], TIERS[4]];
    let lifted = |i: usize, (_, _, quality, cost): (&str, u8, f64, f64)| Point {
        cost_usd: cost / 1000.0,
        quality: quality + lift * [0.0, 1.0, 1.2, 0.6][i],
    };
    let hull: Vec<Point> = corners
        .into_iter()
        .enumerate()
        .map(|(i, corner)| lifted(i, corner))
        .collect();
    let sweep = hull.iter().map(|point| SweepPoint {
        lambda_per_usd: Some(100.0),
        floor: None,
        point: Point {
            quality: point.quality - 0.004,
            ..*point
        },
    });
    MethodReport {
        name: name.to_owned(),
        label: label.to_owned(),
        kind,
        setting: String::new(),
        sweep: sweep.collect(),
        aiq: around(0.72 + lift, 0.013),
        aiq_log: Some(around(0.66 + lift, 0.012)),
        peak_quality: 0.742 + lift,
        deferral_area: 0.718 + lift,
        cost_share: [(0.95, Some(0.31)), (0.97, Some(0.42)), (0.99, Some(0.5)), (1.0, None)]
            .map(|(retained, cost_share)| CostShare { retained, cost_share })
            .to_vec(),
        quality_retained: [(0.2, Some(1.0)), (0.4, Some(0.995)), (0.6, Some(0.97)), (0.8, None)]
            .map(|(saved, retained)| QualityRetained { saved, retained })
            .to_vec(),
        performance_gain: lift,
        cost_save: (lift > 0.0).then_some(0.2),
        pareto_distance: 0.03,
        two_tier: None,
        operating_points: vec![operating("validated", None, 0.735 + 0.3 * lift, 2.3)],
        hull,
    }
}

fn single(idx: usize) -> MethodReport {
    let (name, _, quality, cost) = TIERS[idx];
    let point = Point {
        cost_usd: cost / 1000.0,
        quality,
    };
    MethodReport {
        setting: if idx == BEST { "dearest, best single" } else { "" }.to_owned(),
        sweep: Vec::new(),
        hull: vec![point],
        aiq: around(quality - 0.05 * idx as f64, 0.013),
        operating_points: vec![OperatingPoint {
            lambda_per_usd: None,
            ..operating("always", None, quality, cost)
        }],
        ..curve(
            &format!("single:{name}"),
            &format!("Always {name}"),
            MethodKind::SingleTier,
            0.0,
        )
    }
}

fn operating(name: &str, floor: Option<f64>, quality: f64, cost: f64) -> OperatingPoint {
    let (_, _, best_quality, best_cost) = TIERS[BEST];
    OperatingPoint {
        name: name.to_owned(),
        floor,
        lambda_per_usd: floor.is_none().then_some(120.0),
        quality: around(quality, 0.018),
        cost_usd: around(cost / 1000.0, 0.05 * cost / 1000.0),
        relative_quality: around(quality / best_quality, 0.008),
        relative_cost: around(cost / best_cost, 0.03),
        tier_shares: vec![0.31, 0.17, 0.05, 0.08, 0.39],
        arena_score: 0.71,
        optimal_selection: Some(0.5),
        optimal_accuracy: Some(0.93),
        optimal_cost: None,
        macro_quality: quality - 0.01,
        gain_over_random: 0.12,
        gain_over_best_single: -0.01,
        gap_to_oracle: -0.13,
        relative_to_pool_best: quality / best_quality,
        selection_entropy_bits: 2.0,
    }
}

fn domain((name, n_items, shift): (&str, usize, f64)) -> DomainRow {
    let point = |cost: f64, quality: f64| Point {
        cost_usd: cost / 1000.0,
        quality: quality + shift,
    };
    DomainRow {
        domain: name.to_owned(),
        n_items,
        best_single: point(4.1, 0.742),
        auto: point(1.9, 0.735),
        dearest: point(4.1, 0.742),
        oracle: point(0.6, 0.86),
    }
}

fn prediction(name: &str, n: usize, mean: f64) -> PredictionQuality {
    let bin = |i: usize| {
        let predicted = (i as f64 + 0.5) / 15.0;
        ReliabilityBin {
            n: 20 + 17 * i,
            predicted,
            observed: predicted + 0.05 * (7.0 * predicted).sin(),
        }
    };
    PredictionQuality {
        name: name.to_owned(),
        n,
        mean_predicted: mean + 0.004,
        mean_observed: mean,
        brier: 0.8 * mean * (1.0 - mean),
        variance: mean * (1.0 - mean),
        crps: 0.19,
        crps_train_histogram: (name != "frontier").then_some(0.22),
        ece_width: 0.024,
        ece_mass: 0.026,
        ece_width_floor: 0.019,
        ece_mass_floor: 0.02,
        verdict: Verdict::Calibrated,
        coverage80: 0.91,
        coverage80_randomised: 0.8,
        width80: 0.83,
        pit: [0.09, 0.1, 0.11, 0.1, 0.095, 0.105, 0.1, 0.1, 0.09, 0.11].to_vec(),
        reliability: (0..15).map(bin).collect(),
    }
}

fn calibration((method, brier): (&str, f64)) -> MethodCalibration {
    MethodCalibration {
        method: method.to_owned(),
        brier,
        ece_width: 0.024,
        ece_mass: 0.026,
        ece_width_floor: 0.019,
    }
}

fn domain_calibration((domain, n, ece_mass, verdict): (&str, usize, f64, Verdict)) -> DomainCalibration {
    DomainCalibration {
        domain: domain.to_owned(),
        n,
        mean_predicted: 0.65 + ece_mass,
        mean_observed: 0.65,
        event_predicted: 0.66 + ece_mass,
        event_observed: 0.66,
        brier: 0.18,
        crps: 0.19,
        ece_mass,
        ece_mass_floor: 0.021,
        verdict,
        bias: [0.8, -0.2, 1.4, 0.3, 1.0]
            .map(|part| around(part * ece_mass, 0.03))
            .to_vec(),
    }
}

/// Doubt raises the accuracy from .70 to .82, confidence to .76.
fn selective() -> SelectiveReport {
    let reference = |random, optimal| SelectiveReference {
        random: around(random, 0.02),
        optimal: around(optimal, 0.01),
    };
    let area = |aurc: f64, random: f64| SelectiveArea {
        aurc: around(aurc, 0.02),
        minus_random: around(aurc - random, 0.015),
        significant: (aurc - random).abs() > 0.015,
    };
    let order = |name: &str, lift: f64| SelectiveOrder {
        name: name.to_owned(),
        decision: area(0.3 - 0.5 * lift, 0.3),
        forecast: area(0.18 - 0.2 * lift, 0.18),
        curve: (1..=20)
            .map(|step| f64::from(step) / 20.0)
            .map(|coverage| CoveragePoint {
                coverage,
                quality: around(0.735 + 0.5 * lift * (1.0 - coverage), 0.02 / coverage.sqrt()),
                accuracy: around(0.7 + lift * (1.0 - coverage), 0.02 / coverage.sqrt()),
                brier: around(0.18 - 0.3 * lift * (1.0 - coverage), 0.01 / coverage.sqrt()),
            })
            .collect(),
    };
    let side = |n_items, accuracy: f64| GateSide {
        n_items,
        quality: around(accuracy + 0.03, 0.02),
        accuracy: around(accuracy, 0.02),
        brier: around(0.9 - accuracy, 0.01),
    };
    SelectiveReport {
        decision: reference(0.3, 0.05),
        forecast: reference(0.18, 0.09),
        orders: vec![order("doubt", 0.12), order("confidence", 0.06)],
        gate: Some(GateReport {
            insufficient_share: around(0.06, 0.011),
            sufficient: Some(side(1709, 0.71)),
            insufficient: Some(side(109, 0.55)),
            difference: Some(GateDifference {
                accuracy: around(0.16, 0.09),
                brier: around(-0.16, 0.05),
            }),
            safe_tier: "frontier".to_owned(),
            quality_change: around(0.004, 0.006),
            cost_change_usd: around(0.000_11, 0.000_02),
        }),
    }
}

fn cost_head(tier: &str) -> CostHeadRow {
    let masked = tier == "small-8b";
    CostHeadRow {
        tier: tier.to_owned(),
        n: if masked { 0 } else { 1818 },
        median_ape: (!masked).then_some(0.34),
        mean_ape: (!masked).then_some(0.61),
        bias: (!masked).then_some(1.07),
        masked: masked.then(|| "output tokens are absent, so costs are partial".to_owned()),
    }
}
