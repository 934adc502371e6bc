//! What can be set while the process runs, and its log.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use api::{ApiError, ErrorCode, VrouterValue};
use engine::{LogRule, MssClamp};
use tables::DropReason;
use tables::flow::HoldLimits;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What a `--log` filter amounts to when nobody has set a level.
const INFO: u32 = 7;
/// Modules that a log type stands for, in the order of [`VrouterValue::LOG_TYPES`].
const LOG_TARGETS: [&str; 4] = [
    "vrouterd::follow,vrouterd::server",
    "vrouterd::control",
    "vrouterd::ports",
    "vrouterd::worker",
];

/// Settings and whether they can be changed.
pub(crate) struct Settings {
    values: BTreeMap<VrouterValue, u32>,
    log: Log,
}

/// Changes the log's filter.
type Change = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// The log, whose filter can be changed.
#[derive(Clone)]
pub(crate) struct Log(Arc<Change>);

impl Log {
    /// Starts to log on standard error.
    ///
    /// # Errors
    /// The filter is none.
    pub(crate) fn start(filter: &str) -> Result<Log> {
        let filter = EnvFilter::try_new(filter)
            .with_context(|| format!("--log: `{filter}` is not a filter"))?;
        let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        tracing_subscriber::registry().with(filter).with(lines).init();
        Ok(Log(Arc::new(move |filter| handle.reload(filter))))
    }
}

impl Settings {
    /// What the process was started with.
    pub(crate) fn new(log: Log, mss: MssClamp) -> Settings {
        let clamps = |which| u32::from(mss == MssClamp::Both || mss == which);
        let held = HoldLimits::default();
        let values = BTreeMap::from([
            (VrouterValue::FromVmMssAdjust, clamps(MssClamp::FromWorkloads)),
            (VrouterValue::ToVmMssAdjust, clamps(MssClamp::ToWorkloads)),
            (VrouterValue::MplsOverUdp, 0),
            (VrouterValue::PriorityTagging, 0),
            (VrouterValue::PacketDump, 0),
            (VrouterValue::FlowHoldLimit, held.flows),
            (VrouterValue::BurstTokens, held.tokens),
            (VrouterValue::BurstInterval, held.interval),
            (VrouterValue::BurstStep, held.step),
            (VrouterValue::DropLog, 1),
            (VrouterValue::DropLogMinimum, 0),
            (VrouterValue::DropLogReason, VrouterValue::EVERY_REASON),
            (VrouterValue::LogLevel, INFO),
            (VrouterValue::LogTypes, 0),
        ]);
        Settings { values, log }
    }

    /// All, ascending.
    pub(crate) fn all(&self) -> impl Iterator<Item = (VrouterValue, u32)> + '_ {
        self.values.iter().map(|(name, value)| (*name, *value))
    }

    /// One of them; 0 if it cannot be set.
    pub(crate) fn get(&self, name: VrouterValue) -> u32 {
        self.values.get(&name).copied().unwrap_or(0)
    }

    /// Which TCP connections are told what fits into a tunnel.
    pub(crate) fn mss(&self) -> MssClamp {
        let on = |name| self.get(name) == 1;
        match (on(VrouterValue::FromVmMssAdjust), on(VrouterValue::ToVmMssAdjust)) {
            (true, true) => MssClamp::Both,
            (true, false) => MssClamp::FromWorkloads,
            (false, true) => MssClamp::ToWorkloads,
            (false, false) => MssClamp::Off,
        }
    }

    /// How many flows may wait for an agent's verdict.
    pub(crate) fn hold_limits(&self) -> HoldLimits {
        HoldLimits {
            flows: self.get(VrouterValue::FlowHoldLimit),
            tokens: self.get(VrouterValue::BurstTokens),
            interval: self.get(VrouterValue::BurstInterval),
            step: self.get(VrouterValue::BurstStep),
        }
    }

    /// What workers log of the packets they drop.
    pub(crate) fn log_rule(&self) -> Option<LogRule> {
        let number = self.get(VrouterValue::DropLogReason);
        let reason = DropReason::ALL.iter().copied().find(|reason| *reason as u32 == number);
        let bytes = self.get(VrouterValue::DropLogMinimum) == 0;
        (self.get(VrouterValue::DropLog) == 1).then_some(LogRule { reason, bytes })
    }

    /// Changes one.
    ///
    /// # Errors
    /// It cannot be set here, or not to that.
    pub(crate) fn set(&mut self, name: VrouterValue, to: u32) -> Result<(), ApiError> {
        let object = format!("{name:?}");
        let Some(value) = self.values.get_mut(&name) else {
            let message = "is no setting of this dataplane";
            return Err(ApiError::new(ErrorCode::Unsupported, object, message));
        };
        if name == VrouterValue::DropLogReason && !is_reason(to) {
            let message = format!("{to} is no drop reason");
            return Err(ApiError::new(ErrorCode::Invalid, object, message));
        }
        let most = match name {
            VrouterValue::FlowHoldLimit
            | VrouterValue::BurstTokens
            | VrouterValue::BurstInterval
            | VrouterValue::BurstStep => u32::MAX,
            VrouterValue::DropLogReason => VrouterValue::EVERY_REASON,
            VrouterValue::LogLevel => 8,
            VrouterValue::LogTypes => 0xf,
            _ => 1,
        };
        if to > most {
            return Err(ApiError::new(ErrorCode::Invalid, object, format!("{to} is above {most}")));
        }
        *value = to;
        if matches!(name, VrouterValue::LogLevel | VrouterValue::LogTypes) {
            self.change_log()?;
        }
        Ok(())
    }

    fn change_log(&self) -> Result<(), ApiError> {
        let filter = log_filter(self.get(VrouterValue::LogLevel), self.get(VrouterValue::LogTypes));
        let failed = |text: String| ApiError::new(ErrorCode::System, "log", text);
        let filter = EnvFilter::try_new(filter).map_err(|error| failed(error.to_string()))?;
        (self.log.0)(filter).map_err(|error| failed(error.to_string()))
    }
}

fn is_reason(number: u32) -> bool {
    number == VrouterValue::EVERY_REASON || (number as usize) < DropReason::COUNT
}

/// The filter for a level (1 emergency to 8 debug) and the types that are logged in detail.
fn log_filter(level: u32, types: u32) -> String {
    let level = match level {
        0 => "off",
        1..=4 => "error",
        5 => "warn",
        6 | 7 => "info",
        _ => "debug",
    };
    let detailed = LOG_TARGETS.iter().enumerate().filter(|(bit, _)| types & (1 << bit) != 0);
    let modules = detailed.flat_map(|(_, modules)| modules.split(','));
    let parts: String = modules.map(|module| format!(",{module}=debug")).collect();
    format!("{level}{parts}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(Log(Arc::new(|_| Ok(()))), MssClamp::Both)
    }

    #[test]
    fn settings_take_what_is_in_range_and_name_what_is_not() {
        let mut settings = settings();
        settings.set(VrouterValue::FromVmMssAdjust, 0).unwrap();
        assert_eq!(settings.get(VrouterValue::FromVmMssAdjust), 0);
        assert_eq!(settings.mss(), MssClamp::ToWorkloads);
        let error = settings.set(VrouterValue::ToVmMssAdjust, 2).unwrap_err();
        assert_eq!(error.to_string(), "ToVmMssAdjust: 2 is above 1");
        assert_eq!(settings.get(VrouterValue::ToVmMssAdjust), 1);
        let error = settings.set(VrouterValue::Interfaces, 3).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unsupported);
    }

    #[test]
    fn levels_and_types_are_a_filter() {
        assert_eq!(log_filter(7, 0), "info");
        assert_eq!(log_filter(4, 0b10), "error,vrouterd::control=debug");
        assert!(EnvFilter::try_new(log_filter(8, 0xf)).is_ok());
    }
}
