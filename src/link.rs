//! The links that learners have, as constant classes to plan for. Profiles name them, plans predict on them.

/// A throughput class (design section 2): a constant link to plan for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class {
    pub name: &'static str,
    pub down_kbps: f64,
    pub rtt_ms: f64,
    /// In each direction.
    pub loss_percent: f64,
    pub up_kbps: f64,
}

/// WebPageTest and Facebook ATC profiles; `weak-3g` and `good` are ours.
pub const CLASSES: &[Class] = &[
    Class { name: "2g", down_kbps: 35.0, rtt_ms: 1300.0, loss_percent: 0.0, up_kbps: 32.0 },
    Class { name: "edge", down_kbps: 120.0, rtt_ms: 840.0, loss_percent: 1.0, up_kbps: 100.0 },
    Class { name: "edge-avg", down_kbps: 240.0, rtt_ms: 840.0, loss_percent: 0.0, up_kbps: 200.0 },
    Class { name: "weak-3g", down_kbps: 300.0, rtt_ms: 400.0, loss_percent: 1.0, up_kbps: 150.0 },
    Class { name: "3g", down_kbps: 780.0, rtt_ms: 200.0, loss_percent: 0.0, up_kbps: 330.0 },
    Class { name: "3g-fast", down_kbps: 1600.0, rtt_ms: 150.0, loss_percent: 0.0, up_kbps: 768.0 },
    Class { name: "good", down_kbps: 3000.0, rtt_ms: 80.0, loss_percent: 0.0, up_kbps: 1500.0 },
];

/// The class of a name; `None` where there is none.
pub fn class(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|c| c.name == name)
}
