//! The kill switches that were moved by hand: above the configuration, and kept across restarts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::domain::event::Access;
use crate::domain::policy::{AccessSwitch, Policy};
use crate::domain::time::{Timestamp, rfc3339};
use crate::edge::http::{Change, Switch};

/// A switch that was moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Moved {
    value: AccessSwitch,
    operator: String,
    reason: String,
    #[serde(with = "rfc3339")]
    at: Timestamp,
}

#[derive(Debug)]
struct Standing {
    /// The policy as configured.
    configured: Policy,
    moved: BTreeMap<String, Moved>,
}

/// All switches of a data directory.
#[derive(Debug)]
pub(super) struct Switches {
    path: PathBuf,
    standing: Mutex<Standing>,
}

/// Its key in `[policy]`.
pub(super) fn key(access: Access) -> &'static str {
    match access {
        Access::Cpm => "access_cpm",
        Access::Sms => "access_sms",
    }
}

impl Switches {
    /// The switches of a data directory, above this policy.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read: a switch that was moved must not be forgotten.
    pub(super) fn open(directory: &Path, configured: Policy) -> anyhow::Result<Self> {
        let path = directory.join("switches.json");
        let moved = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{}: kill switches were moved, and cannot be read", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self { path, standing: Mutex::new(Standing { configured, moved }) })
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> Policy {
        self.lock().policy()
    }

    /// The configuration was read again.
    pub(super) fn configure(&self, policy: Policy) -> Policy {
        let mut standing = self.lock();
        standing.configured = policy;
        standing.policy()
    }

    /// How one stands.
    pub(super) fn get(&self, access: Access) -> Switch {
        self.lock().get(access)
    }

    /// Those that were moved: their keys, values, and by whom.
    pub(super) fn moved(&self) -> Vec<(String, AccessSwitch, String)> {
        let moved = &self.lock().moved;
        moved.iter().map(|(key, m)| (key.clone(), m.value, m.operator.clone())).collect()
    }

    /// Moves one, durably. The policy that is in force then.
    ///
    /// # Errors
    ///
    /// It cannot be written: it stands as before.
    pub(super) fn set(
        &self,
        access: Access,
        change: &Change,
        at: Timestamp,
    ) -> anyhow::Result<Policy> {
        let mut standing = self.lock();
        let mut moved = standing.moved.clone();
        match change.value {
            Some(value) => {
                let (operator, reason) = (change.operator.clone(), change.reason.clone());
                moved.insert(key(access).to_owned(), Moved { value, operator, reason, at });
            }
            None => {
                moved.remove(key(access));
            }
        }
        let half = self.path.with_extension("json.half");
        let bytes = serde_json::to_vec_pretty(&moved)?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&half)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&half, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))?;
        standing.moved = moved;
        Ok(standing.policy())
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn policy(&self) -> Policy {
        let mut policy = self.configured.clone();
        let value = |access| self.moved.get(key(access)).map(|moved| moved.value);
        policy.access_cpm = value(Access::Cpm).unwrap_or(policy.access_cpm);
        policy.access_sms = value(Access::Sms).unwrap_or(policy.access_sms);
        policy
    }

    fn get(&self, access: Access) -> Switch {
        let policy = self.policy();
        let value = match access {
            Access::Cpm => policy.access_cpm,
            Access::Sms => policy.access_sms,
        };
        let moved = self.moved.get(key(access)).map(|moved| {
            let (operator, reason) = (moved.operator.clone(), moved.reason.clone());
            (Change { value: Some(moved.value), operator, reason }, moved.at)
        });
        Switch { value, moved }
    }
}
