//! The data directory: rights, file system, space, speed, and who writes it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Finding, Verdict, bytes};
use crate::cli::clock::Stopwatch;
use crate::cli::config::Config;
use crate::cli::measures::disk_free_bytes;
use crate::log::embedded::{Directory, LogFault};

/// How often the disk is asked to make something durable.
const ROUNDS: usize = 20;
/// How much each time.
const BLOCK: [u8; 4096] = [0; 4096];
/// A commit that takes longer is felt by every client.
const SLOW: Duration = Duration::from_millis(10);
/// One in a while that takes longer is, too.
const STALL: Duration = Duration::from_millis(250);
/// No disk that keeps what it was given is this fast.
const TOO_FAST: Duration = Duration::from_micros(8);
/// Below this somebody is woken up: the alert DeferdDiskLow.
const LOW: u64 = 2 << 30;

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let path = &config.run.data_dir;
    let mut findings = Vec::new();
    let (place, is_there) = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            findings.push(rights(path, &meta));
            (path.clone(), true)
        }
        Ok(_) => {
            let says = format!("{} is no directory", path.display());
            return vec![Finding::bad("data directory", says, "choose another run.data_dir")];
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = nearest(path);
            let says = format!("{} is made at the first start", path.display());
            findings.push(Finding::ok("data directory", says));
            (parent, false)
        }
        Err(error) => {
            let says = format!("{}: {error}", path.display());
            return vec![Finding::bad("data directory", says, "run this as the daemon's user")];
        }
    };
    findings.extend(file_system(&place));
    findings.push(space(&place, config.embedded.segment_bytes));
    findings.push(speed(&place));
    if is_there {
        findings.push(layout(path, config.embedded.partitions));
    }
    findings
}

/// The nearest directory above a path that is not there yet.
fn nearest(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.ancestors().find(|above| above.is_dir()).map_or_else(|| "/".into(), Path::to_owned)
}

fn rights(path: &Path, meta: &fs::Metadata) -> Finding {
    let (mode, owner) = (meta.permissions().mode() & 0o7777, meta.uid());
    let us = rustix::process::geteuid().as_raw();
    let says = format!("{}, mode {mode:o}, owner {owner}", path.display());
    if owner != us && us != 0 && !may_write(mode, meta) {
        let says = format!("{says}; this is user {us}");
        return Finding::bad("data directory", says, format!("run as user {owner}, or chown it"));
    }
    if mode & 0o007 != 0 {
        let advice = format!("chmod o= {}: it holds numbers and messages", path.display());
        return Finding::warning("data directory", format!("{says}: open to everybody"), advice);
    }
    Finding::ok("data directory", says)
}

fn may_write(mode: u32, meta: &fs::Metadata) -> bool {
    let in_group = rustix::process::getegid().as_raw() == meta.gid();
    mode & 0o003 == 0o003 || (in_group && mode & 0o030 == 0o030)
}

/// On what the data directory lies. `None` where the system does not tell.
fn file_system(place: &Path) -> Option<Finding> {
    const CHECK: &str = "file system";
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let place = fs::canonicalize(place).ok()?;
    let Mount { at, kind, is_read_only } = mount_of(&mounts, &place)?;
    let says = format!("{kind} at {at}");
    Some(if is_read_only {
        Finding::bad(CHECK, format!("{says}, read-only"), "mount it for writing")
    } else if ["tmpfs", "ramfs"].contains(&kind.as_str()) {
        let advice = "choose a disk: everything here is gone with a reboot";
        Finding::warning(CHECK, format!("{says}: memory"), advice)
    } else if kind == "overlay" {
        let advice = "mount a volume there, or all is gone with the container";
        Finding::warning(CHECK, format!("{says}: a container's own layer"), advice)
    } else if is_network(&kind) {
        let advice = "choose a local disk: locks and fdatasync may not hold over a network";
        Finding::warning(CHECK, format!("{says}: a network"), advice)
    } else {
        Finding::ok(CHECK, says)
    })
}

fn is_network(kind: &str) -> bool {
    const NETWORKS: [&str; 10] =
        ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs"];
    NETWORKS.contains(&kind) || kind.starts_with("fuse.sshfs") || kind.starts_with("fuse.gluster")
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    at: String,
    kind: String,
    is_read_only: bool,
}

/// The mount that a path lies on, of what /proc/self/mountinfo says: the deepest, and of several at one
/// place the last.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(4);
        // The system writes a space as \040.
        let at = left.next()?.replace("\\040", " ");
        let options = left.next()?;
        let mut right = right.split(' ');
        let kind = right.next()?.to_owned();
        let of_disk = right.nth(1).unwrap_or_default();
        let is_read_only = [options, of_disk].iter().any(|o| o.split(',').any(|o| o == "ro"));
        Some(Mount { at, kind, is_read_only })
    };
    let over = mounts.lines().filter_map(parse).filter(|mount| path.starts_with(&mount.at));
    over.max_by_key(|mount| Path::new(&mount.at).components().count())
}

fn space(place: &Path, segment: u64) -> Finding {
    const CHECK: &str = "free space";
    let Some(free) = disk_free_bytes(place) else {
        return Finding::unknown(CHECK, "the system does not tell", "df -h");
    };
    let says = format!("{}, a segment takes {}", bytes(free), bytes(segment));
    if free < segment {
        return Finding::bad(CHECK, says, "make room, or choose another disk");
    }
    if free < LOW.max(segment.saturating_mul(8)) {
        return Finding::warning(CHECK, says, "make room: a full disk takes no inputs");
    }
    Finding::ok(CHECK, says)
}

fn speed(place: &Path) -> Finding {
    const CHECK: &str = "fdatasync";
    let file = place.join(format!(".deferd-doctor-{}", std::process::id()));
    let measured = measure(&file);
    let _ = fs::remove_file(&file);
    match measured {
        Ok(times) => judged(CHECK, times),
        Err(error) => {
            let says = format!("cannot write in {}: {error}", place.display());
            Finding::bad(CHECK, says, "run this as the daemon's user, and give it the right")
        }
    }
}

fn measure(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    (0..ROUNDS)
        .map(|_| {
            let watch = Stopwatch::start();
            file.write_all(&BLOCK)?;
            file.sync_data()?;
            Ok(watch.elapsed())
        })
        .collect()
}

fn judged(check: &'static str, mut times: Vec<Duration>) -> Finding {
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    let says = format!("{median:.1?}, at worst {worst:.1?}, of {} times 4 KiB", times.len());
    let (verdict, advice) = if median < TOO_FAST {
        let advice = "too fast to be true: ask whether this disk keeps what it said it wrote";
        (Verdict::Warning, advice)
    } else if median > SLOW || worst > STALL {
        (Verdict::Warning, "slow: every client waits for it; give the journal a disk of its own")
    } else {
        return Finding::ok(check, says);
    };
    Finding::new(verdict, check, says, advice)
}

/// Who made it, and who writes it.
fn layout(path: &Path, partitions: u32) -> Finding {
    const CHECK: &str = "layout";
    let directory = match Directory::open(path) {
        Ok(directory) => directory,
        Err(LogFault::NoDirectory { .. }) => return Finding::ok(CHECK, "new: nothing in it yet"),
        Err(error @ LogFault::Newer { .. }) => {
            return Finding::bad(
                CHECK,
                error.to_string(),
                "use that version of deferd, or a later one",
            );
        }
        Err(error) => {
            let advice = "see `Corruption` in ops/runbook.md; delete nothing";
            return Finding::bad(CHECK, error.to_string(), advice);
        }
    };
    let layout = &directory.layout;
    let writer = match directory.writer() {
        Some(pid) => format!("written by process {pid}"),
        None => "nobody writes it".to_owned(),
    };
    let says = format!("version {}, {} partitions, {writer}", layout.version, layout.partitions);
    if layout.partitions != partitions {
        let says = format!("{says}; embedded.partitions is {partitions}");
        let advice = format!("set embedded.partitions to {}: it cannot change", layout.partitions);
        return Finding::bad(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
30 22 0:26 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1g
31 22 0:40 / /mnt/two\\040words rw shared:9 - nfs4 host:/x rw,vers=4.2
32 22 0:41 / /mnt/ro rw shared:9 - ext4 /dev/vdb ro
33 22 0:42 / /data rw shared:9 - ext4 /dev/vdc rw
34 33 0:43 / /data rw shared:9 - xfs /dev/vdd rw";

    #[test]
    fn the_deepest_mount_counts_and_the_last_of_one_place() {
        let kind = |path: &str| mount_of(MOUNTS, Path::new(path)).map(|mount| mount.kind);
        assert_eq!(kind("/var/lib/deferd").as_deref(), Some("ext4"));
        assert_eq!(kind("/run/deferd").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/running").as_deref(), Some("ext4"));
        assert_eq!(kind("/mnt/two words/x").as_deref(), Some("nfs4"));
        assert_eq!(kind("/data/deferd").as_deref(), Some("xfs"));
        let read_only = |path: &str| mount_of(MOUNTS, Path::new(path)).map(|m| m.is_read_only);
        assert_eq!(read_only("/mnt/ro"), Some(true));
        // `remount-ro` is no `ro`.
        assert_eq!(read_only("/var"), Some(false));
    }

    #[test]
    fn a_disk_is_judged_by_its_usual_and_by_its_worst() {
        let verdict = |times: &[u64]| {
            judged("x", times.iter().copied().map(Duration::from_micros).collect()).verdict
        };
        assert_eq!(verdict(&[900, 1000, 1100]), Verdict::Ok);
        assert_eq!(verdict(&[900, 20_000, 30_000]), Verdict::Warning);
        assert_eq!(verdict(&[900, 1000, 300_000]), Verdict::Warning);
        assert_eq!(verdict(&[1, 2, 900]), Verdict::Warning);
    }
}
