//! Ids that outlive the process: VRFs, vifs, next hops and labels, each remembered for the object it names.
//!
//! A peer keeps sending to a label for a while after it was withdrawn, and the dataplane keeps forwarding by it while
//! the agent is dead. So an id given to another object too early delivers to the wrong tenant. Therefore:
//!
//! - an object has the same id after every restart; a workload that moves to another network is another object to its
//!   label, vif and next hops: peers of the former network may still use its label, the dataplane its former routes;
//! - ids never used before are given out first; a freed one rests at least [`REST`] and is reused oldest first, unless
//!   its own object comes back before;
//! - the file is replaced as a whole (write, fsync, rename), before any id of it is used;
//! - a file that cannot be read is an error for the operator: starting afresh would reuse every id at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use tables::{Key, MirrorId, NhId, VifId, VrfId, limits};
use wire::Label;

/// How long a freed id rests.
const REST: Duration = Duration::from_secs(600);

/// Layout of the file.
const VERSION: u32 = 1;

/// Labels 0 to 15 mean something to everybody (RFC 3032).
const FIRST_LABEL: u32 = 16;

/// Why ids cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdsError {
    /// The directory or file cannot be used.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another agent works with this directory.
    #[error("{}: another vrouter-agent uses this state directory", .0.display())]
    Locked(PathBuf),
    /// The file is damaged.
    #[error(
        "{}: {problem}; ids are not invented anew, because a label reused too early reaches the wrong tenant: restore the file, or remove it once no other node has routes to this one",
        path.display()
    )]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// All ids of a kind are in use or resting.
    #[error("no free {kind} is left for \"{of}\"")]
    Exhausted {
        /// Of which.
        kind: &'static str,
        /// What goes without.
        of: String,
    },
}

/// One kind of id.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pool {
    /// The next id that was never given out.
    next: u32,
    used: BTreeMap<String, u32>,
    /// Freed ids, oldest first. The object that had one gets it back if it returns meanwhile.
    resting: VecDeque<Resting>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Resting {
    id: u32,
    of: String,
    /// Unix seconds.
    freed: u64,
}

impl Pool {
    fn starting_at(next: u32) -> Pool {
        Pool { next, used: BTreeMap::new(), resting: VecDeque::new() }
    }

    fn get(&mut self, key: &str, limit: usize, now: u64) -> Option<(u32, Change)> {
        if let Some(id) = self.used.get(key) {
            return Some((*id, Change::None));
        }
        let id = if let Some(at) = self.resting.iter().position(|resting| resting.of == key) {
            self.resting.remove(at)?.id
        } else if (self.next as usize) < limit {
            self.next += 1;
            self.next - 1
        } else {
            let oldest = self.resting.front()?;
            if now.saturating_sub(oldest.freed) < REST.as_secs() {
                return None;
            }
            self.resting.pop_front()?.id
        };
        self.used.insert(key.to_owned(), id);
        Some((id, Change::Made))
    }

    fn keep_only(&mut self, wanted: impl Fn(&str) -> bool, now: u64) -> Change {
        let gone: Vec<String> = self.used.keys().filter(|key| !wanted(key)).cloned().collect();
        for key in &gone {
            if let Some(id) = self.used.remove(key) {
                self.resting.push_back(Resting { id, of: key.clone(), freed: now });
            }
        }
        if gone.is_empty() { Change::None } else { Change::Made }
    }

    /// Whether every id is below the next one and has one holder.
    fn is_sound(&self, first: u32, limit: usize) -> bool {
        let mut all: Vec<u32> = self
            .used
            .values()
            .copied()
            .chain(self.resting.iter().map(|resting| resting.id))
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        let inside = all.iter().all(|id| (first..self.next).contains(id));
        all.len() == count && inside && self.next >= first && self.next as usize <= limit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Made,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pools {
    version: u32,
    vrfs: Pool,
    vifs: Pool,
    next_hops: Pool,
    labels: Pool,
    /// Not there in files of agents that knew no mirrors.
    #[serde(default = "no_mirrors")]
    mirrors: Pool,
}

fn no_mirrors() -> Pool {
    Pool::starting_at(0)
}

impl Pools {
    fn new() -> Pools {
        Pools {
            version: VERSION,
            vrfs: Pool::starting_at(FIRST_VRF),
            vifs: Pool::starting_at(FIRST_VIF),
            next_hops: Pool::starting_at(FIRST_NEXT_HOP),
            labels: Pool::starting_at(FIRST_LABEL),
            mirrors: no_mirrors(),
        }
    }
}

/// VRF 0 is the fabric's.
const FIRST_VRF: u32 = 1;
/// 0 to 2 are for physical interfaces.
const FIRST_VIF: u32 = 3;
/// 0 discards.
const FIRST_NEXT_HOP: u32 = 1;

/// The ids of a workload in a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkloadIds {
    pub(crate) vrf: VrfId,
    pub(crate) vif: VifId,
    /// Packets for it come under this.
    pub(crate) label: Label,
    /// Frames for it come under this.
    pub(crate) l2_label: Label,
    /// The Encap of packets.
    pub(crate) l3: NhId,
    /// The Encap of frames.
    pub(crate) l2: NhId,
}

/// All ids of a node.
#[derive(Debug)]
pub(crate) struct Ids {
    path: PathBuf,
    pools: Pools,
    change: Change,
    existed: bool,
    /// Of what need not be the same after a restart, by kind.
    numbers: BTreeMap<&'static str, BTreeMap<String, u32>>,
    /// Held for the life of the process, so that two agents never work with one directory.
    _lock: Option<File>,
}

impl Ids {
    /// Opens or begins the file in a directory.
    ///
    /// # Errors
    /// Every [`IdsError`] but `Exhausted`.
    pub(crate) fn open(directory: &Path) -> Result<Ids, IdsError> {
        fs::create_dir_all(directory).map_err(|error| io_error(directory, error))?;
        let lock_path = directory.join("agent.lock");
        let lock = File::create(&lock_path).map_err(|error| io_error(&lock_path, error))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(IdsError::Locked(directory.to_owned()));
        }
        let path = directory.join("ids.json");
        let (pools, existed) = match fs::read_to_string(&path) {
            Ok(text) => (read(&path, &text)?, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Pools::new(), false),
            Err(error) => return Err(io_error(&path, error)),
        };
        Ok(Ids {
            path,
            pools,
            change: Change::None,
            existed,
            numbers: BTreeMap::new(),
            _lock: Some(lock),
        })
    }

    /// Ids that live in memory only, for tests.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Ids {
        Ids {
            path: PathBuf::new(),
            pools: Pools::new(),
            change: Change::None,
            existed: false,
            numbers: BTreeMap::new(),
            _lock: None,
        }
    }

    /// The workloads that have ids, for tests.
    #[cfg(test)]
    pub(crate) fn workloads(&self) -> Vec<&str> {
        let labels = self.pools.labels.used.keys().filter_map(|key| Some(key.split_once('/')?.1));
        let vifs = self.pools.vifs.used.keys().filter_map(|key| Some(key.split_once('/')?.1));
        let all: BTreeSet<&str> = labels.chain(vifs).collect();
        all.into_iter().collect()
    }

    /// Leaves so many labels never used, for tests.
    #[cfg(test)]
    pub(crate) fn leave_labels(&mut self, count: usize) {
        self.pools.labels.next = u32::try_from(limits::LABELS - count).unwrap();
    }

    /// As after a restart, for tests.
    #[cfg(test)]
    pub(crate) fn set_existed(&mut self) {
        self.existed = true;
    }

    /// Whether an agent has run here before: this start is a restart.
    pub(crate) fn existed(&self) -> bool {
        self.existed
    }

    /// A number for a name of this kind, the same as long as the process lives: of what packets are judged by, but never
    /// sent with.
    pub(crate) fn number(&mut self, kind: &'static str, name: &str) -> u32 {
        let known = self.numbers.entry(kind).or_default();
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        *known.entry(name.to_owned()).or_insert(next)
    }

    /// The VRF of a network.
    ///
    /// # Errors
    /// [`IdsError::Exhausted`].
    pub(crate) fn vrf(&mut self, network: &str) -> Result<VrfId, IdsError> {
        let id = self.get(|p| &mut p.vrfs, "VRF", network, limits::VRFS)?;
        u16::try_from(id).map(VrfId).map_err(|_| exhausted("VRF", network))
    }

    /// Everything of a workload in a network.
    ///
    /// # Errors
    /// [`IdsError::Exhausted`] when one of them cannot be had.
    pub(crate) fn workload(
        &mut self,
        network: &str,
        workload: &str,
    ) -> Result<WorkloadIds, IdsError> {
        let key = member(network, workload);
        Ok(WorkloadIds {
            vrf: self.vrf(network)?,
            vif: self.vif(network, workload)?,
            label: self.label(network, workload)?,
            l2_label: self.label_of(format!("{ENCAP_L2}{key}"))?,
            l3: self.next_hop(&format!("{ENCAP_L3}{key}"))?,
            l2: self.next_hop(&format!("{ENCAP_L2}{key}"))?,
        })
    }

    /// What nobody has any more: labels, vifs and next hops. The dataplane may still have it from a former life.
    pub(crate) fn resting(&self) -> BTreeSet<Key> {
        let pools = &self.pools;
        let of = |pool: &'_ Pool| pool.resting.iter().map(|resting| resting.id).collect::<Vec<_>>();
        let labels = of(&pools.labels).into_iter().filter_map(|id| Label::try_from(id).ok());
        let vifs = of(&pools.vifs).into_iter().filter_map(|id| u16::try_from(id).ok());
        let next_hops = of(&pools.next_hops).into_iter().map(|id| Key::NextHop(NhId(id)));
        let vifs = vifs.map(|id| Key::Vif(VifId(id)));
        labels.map(Key::Label).chain(vifs).chain(next_hops).collect()
    }

    /// The vif of a workload in a network.
    ///
    /// # Errors
    /// [`IdsError::Exhausted`].
    pub(crate) fn vif(&mut self, network: &str, workload: &str) -> Result<VifId, IdsError> {
        let key = member(network, workload);
        let id = self.get(|p| &mut p.vifs, "vif", &key, limits::VIFS)?;
        u16::try_from(id).map(VifId).map_err(|_| exhausted("vif", &key))
    }

    /// The next hop of this name.
    ///
    /// # Errors
    /// [`IdsError::Exhausted`].
    pub(crate) fn next_hop(&mut self, name: &str) -> Result<NhId, IdsError> {
        self.get(|p| &mut p.next_hops, "next hop", name, limits::NEXT_HOPS).map(NhId)
    }

    /// A mirror's.
    ///
    /// # Errors
    /// [`IdsError::Exhausted`].
    pub(crate) fn mirror(&mut self, name: &str) -> Result<MirrorId, IdsError> {
        let id = self.get(|p| &mut p.mirrors, "mirror", name, limits::MIRRORS)?;
        u8::try_from(id).map(MirrorId).map_err(|_| exhausted("mirror", name))
    }

    /// The label of a workload in a network.
    ///
    /// # Errors
    /// [`IdsError::Exhausted`].
    pub(crate) fn label(&mut self, network: &str, workload: &str) -> Result<Label, IdsError> {
        self.label_of(member(network, workload))
    }

    /// The label under which frames to be flooded in a network come.
    ///
    /// # Errors
    /// [`IdsError::Exhausted`].
    pub(crate) fn flood_label(&mut self, network: &str) -> Result<Label, IdsError> {
        self.label_of(format!("{FLOOD}{network}"))
    }

    fn label_of(&mut self, key: String) -> Result<Label, IdsError> {
        let id = self.get(|p| &mut p.labels, "label", &key, limits::LABELS)?;
        Label::try_from(id).map_err(|_| exhausted("label", &key))
    }

    /// Frees the VRFs of networks, the vifs and labels of workloads, the local next hops of both, and mirrors, that are
    /// not among these: networks, workloads with the network each is in, mirrors.
    pub(crate) fn keep_configured(
        &mut self,
        networks: &[&str],
        workloads: &[(&str, &str)],
        mirrors: &[&str],
    ) {
        let now = unix_now();
        let pools = &mut self.pools;
        let networks: BTreeSet<&str> = networks.iter().copied().collect();
        let members: BTreeSet<String> =
            workloads.iter().map(|(name, network)| member(network, name)).collect();
        let next_hop = |name: &str| {
            let encap = name.strip_prefix(ENCAP_L3).or_else(|| name.strip_prefix(ENCAP_L2));
            let translate = name.strip_prefix(TRANSLATE);
            encap.is_none_or(|key| members.contains(key))
                && translate.is_none_or(|network| networks.contains(network))
        };
        let label = |key: &str| match key.strip_prefix(FLOOD) {
            Some(network) => networks.contains(network),
            None => members.contains(key.strip_prefix(ENCAP_L2).unwrap_or(key)),
        };
        let changes = [
            pools.vrfs.keep_only(|key| networks.contains(key), now),
            pools.vifs.keep_only(|key| members.contains(key), now),
            pools.labels.keep_only(label, now),
            pools.next_hops.keep_only(next_hop, now),
            pools.mirrors.keep_only(|name| mirrors.contains(&name), now),
        ];
        self.note(changes);
    }

    /// Frees the next hops whose names are not wanted any more; those of workloads stay as long as these are configured.
    pub(crate) fn keep_next_hops(&mut self, wanted: impl Fn(&str) -> bool) {
        let wanted =
            |name: &str| name.starts_with(ENCAP_L3) || name.starts_with(ENCAP_L2) || wanted(name);
        let change = self.pools.next_hops.keep_only(wanted, unix_now());
        self.note([change]);
    }

    /// Writes the file if anything changed. Nothing that uses a new id may be told to anybody before.
    ///
    /// # Errors
    /// [`IdsError::Io`]; the file is then as it was.
    pub(crate) fn save(&mut self) -> Result<(), IdsError> {
        if self.change == Change::None || self.path.as_os_str().is_empty() {
            return Ok(());
        }
        self.write().map_err(|error| io_error(&self.path, error))?;
        self.change = Change::None;
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let aside = self.path.with_extension("json.new");
        let mut file = File::create(&aside)?;
        serde_json::to_writer_pretty(&mut file, &self.pools)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        // The rename itself has to reach the disk too.
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }

    fn get(
        &mut self,
        pool: impl Fn(&mut Pools) -> &mut Pool,
        kind: &'static str,
        key: &str,
        limit: usize,
    ) -> Result<u32, IdsError> {
        let found = pool(&mut self.pools).get(key, limit, unix_now());
        let (id, change) = found.ok_or_else(|| exhausted(kind, key))?;
        self.note([change]);
        Ok(id)
    }

    fn note<const N: usize>(&mut self, changes: [Change; N]) {
        if changes.contains(&Change::Made) {
            self.change = Change::Made;
        }
    }
}

/// What the names of local next hops begin with.
const ENCAP_L3: &str = "encap-l3:";
const ENCAP_L2: &str = "encap-l2:";
const TRANSLATE: &str = "translate:";
/// What the names of labels for flooding begin with; those for frames begin like their next hops.
const FLOOD: &str = "flood:";

/// The name of a network's Translate.
pub(crate) fn translate_name(network: &str) -> String {
    format!("{TRANSLATE}{network}")
}

/// A workload in its network; no name has a slash in it.
fn member(network: &str, workload: &str) -> String {
    format!("{network}/{workload}")
}

fn read(path: &Path, text: &str) -> Result<Pools, IdsError> {
    let corrupt = |problem: String| IdsError::Corrupt { path: path.to_owned(), problem };
    let pools: Pools = serde_json::from_str(text)
        .map_err(|error| corrupt(format!("the file is damaged ({error})")))?;
    if pools.version != VERSION {
        return Err(corrupt(format!("version {}, this agent knows {VERSION}", pools.version)));
    }
    let sound = pools.vrfs.is_sound(FIRST_VRF, limits::VRFS)
        && pools.vifs.is_sound(FIRST_VIF, limits::VIFS)
        && pools.next_hops.is_sound(FIRST_NEXT_HOP, limits::NEXT_HOPS)
        && pools.labels.is_sound(FIRST_LABEL, limits::LABELS)
        && pools.mirrors.is_sound(0, limits::MIRRORS);
    if sound { Ok(pools) } else { Err(corrupt("an id is out of range or given twice".to_owned())) }
}

fn exhausted(kind: &'static str, of: &str) -> IdsError {
    IdsError::Exhausted { kind, of: of.to_owned() }
}

fn io_error(path: &Path, error: io::Error) -> IdsError {
    IdsError::Io { path: path.to_owned(), error }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vr-ids-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn ids_are_the_same_after_a_restart_and_freed_ones_are_not_given_out_again() {
        let directory = directory("same");
        let mut ids = Ids::open(&directory).unwrap();
        assert!(!ids.existed());
        let (a, b) = (ids.label("red", "a").unwrap(), ids.label("red", "b").unwrap());
        assert_eq!((a.get(), b.get()), (16, 17));
        assert_eq!((ids.vrf("red").unwrap(), ids.vif("red", "a").unwrap()), (VrfId(1), VifId(3)));
        ids.save().unwrap();
        drop(ids);
        let mut ids = Ids::open(&directory).unwrap();
        assert!(ids.existed());
        assert_eq!(ids.label("red", "b").unwrap(), b);
        ids.keep_configured(&["red"], &[("b", "red")], &[]);
        ids.save().unwrap();
        drop(ids);
        let mut ids = Ids::open(&directory).unwrap();
        assert_eq!(ids.label("red", "c").unwrap().get(), 18, "16 rests");
        assert_eq!(ids.label("red", "a").unwrap().get(), 16, "its own again");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_used_up_pool_gives_the_oldest_freed_id_after_its_rest() {
        let mut pool = Pool::starting_at(16);
        for key in ["a", "b", "c"] {
            pool.get(key, 19, 0).unwrap();
        }
        assert!(pool.get("d", 19, 0).is_none());
        pool.keep_only(|key| key == "a", 1_000);
        assert!(pool.get("d", 19, 1_599).is_none(), "resting");
        assert_eq!(pool.get("c", 19, 1_599).map(|(id, _)| id), Some(18), "its own again");
        assert_eq!(pool.get("d", 19, 1_600).map(|(id, _)| id), Some(17));
        assert!(pool.is_sound(16, 19));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays() {
        let directory = directory("damaged");
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("ids.json");
        let twice = r#"{"version":1,"vrfs":{"next":3,"used":{"a":1,"b":1},"resting":[]},
            "vifs":{"next":3,"used":{},"resting":[]},"next_hops":{"next":1,"used":{},"resting":[]},
            "labels":{"next":16,"used":{},"resting":[]}}"#;
        for text in ["", "{", "{}", twice] {
            fs::write(&file, text).unwrap();
            let error = Ids::open(&directory).unwrap_err();
            assert!(matches!(error, IdsError::Corrupt { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_a_former_layout_named_without_a_network_rests() {
        let directory = directory("former");
        fs::create_dir_all(&directory).unwrap();
        let former = r#"{"version":1,"vrfs":{"next":2,"used":{"red":1},"resting":[]},
            "vifs":{"next":4,"used":{"a":3},"resting":[]},
            "next_hops":{"next":3,"used":{"encap-l3:a":1,"receive":2},"resting":[]},
            "labels":{"next":17,"used":{"red/a":16},"resting":[]}}"#;
        fs::write(directory.join("ids.json"), former).unwrap();
        let mut ids = Ids::open(&directory).unwrap();
        ids.keep_configured(&["red"], &[("a", "red")], &[]);
        let resting = BTreeSet::from([Key::Vif(VifId(3)), Key::NextHop(NhId(1))]);
        assert_eq!(ids.resting(), resting);
        let of_a = ids.workload("red", "a").unwrap();
        assert_eq!((of_a.label.get(), of_a.vif, of_a.l3), (16, VifId(4), NhId(3)));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn two_agents_never_share_a_state_directory() {
        let directory = directory("shared");
        let first = Ids::open(&directory).unwrap();
        assert!(matches!(Ids::open(&directory), Err(IdsError::Locked(_))));
        drop(first);
        assert!(Ids::open(&directory).is_ok());
        fs::remove_dir_all(directory).unwrap();
    }
}
