//! The memory that the system lets this process have, from which the default budget follows.

use std::fs;
use std::path::{Path, PathBuf};

/// The default budget in bytes: half of the memory that the cgroups of this process allow, or else of the
/// machine's, and no more than half of the limit of its address space. The other half is for what is not
/// counted: the program, the tunnels themselves, and the allocator.
pub(crate) fn default_budget() -> usize {
    let limits = [cgroup_v2(), cgroup_v1(), machine(), address_space()];
    let least = limits.into_iter().flatten().min();
    let half = least.unwrap_or(UNKNOWN) / 2;
    usize::try_from(half).unwrap_or(usize::MAX)
}

/// Taken for the machine's memory on systems that are not asked for it.
const UNKNOWN: u64 = 1 << 30;

/// The least `memory.max` along the path of this process.
fn cgroup_v2() -> Option<u64> {
    let path = own_cgroup(|controllers| controllers.is_empty())?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .filter_map(|root| least(Path::new(root), &path, "memory.max"))
        .min()
}

/// The least `memory.limit_in_bytes` along the path of this process.
fn cgroup_v1() -> Option<u64> {
    let path = own_cgroup(|controllers| controllers.split(',').any(|name| name == "memory"))?;
    let root = Path::new("/sys/fs/cgroup/memory");
    least(root, &path, "memory.limit_in_bytes")
}

/// The path of this process in a hierarchy of cgroups.
fn own_cgroup(is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    path_in(&cgroups, is_wanted)
}

/// The path in the hierarchy whose controllers are wanted. A line is `ID:CONTROLLERS:/PATH`; version 2 names
/// no controllers.
fn path_in(cgroups: &str, is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    cgroups.lines().find_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        is_wanted(controllers).then(|| path.trim_start_matches('/').into())
    })
}

/// The least limit that files of this name set, in a directory or above it. In a container the path may be
/// one outside, and then the root is the container's own.
fn least(root: &Path, path: &Path, name: &str) -> Option<u64> {
    path.ancestors()
        .filter_map(|directory| {
            let limit = fs::read_to_string(root.join(directory).join(name)).ok()?;
            // "max" is no number, and means no limit.
            limit.trim().parse().ok()
        })
        .min()
}

/// The machine's memory.
fn machine() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    total_in(&memory)
}

fn total_in(memory: &str) -> Option<u64> {
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The limit of this process's address space, where there is one.
fn address_space() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    address_space_in(&limits)
}

fn address_space_in(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space"))?;
    let soft = line.split_whitespace().next()?;
    // "unlimited" is no number.
    soft.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{address_space_in, default_budget, least, path_in, total_in};
    use std::fs;
    use std::path::{Path, PathBuf};

    #[test]
    fn reads_the_path_of_each_version() {
        let cgroups = "5:cpu,memory:/docker/1\n1:name=systemd:/init\n0::/user.slice/a\n";
        let v1 = path_in(cgroups, |names| {
            names.split(',').any(|name| name == "memory")
        });
        assert_eq!(v1, Some(PathBuf::from("docker/1")));
        let v2 = path_in(cgroups, str::is_empty);
        assert_eq!(v2, Some(PathBuf::from("user.slice/a")));
        assert_eq!(path_in("nonsense", str::is_empty), None);
    }

    #[test]
    fn the_least_limit_along_the_path_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        let limit = || least(root.path(), Path::new("outer/inner"), "memory.max");
        assert_eq!(limit(), None);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit(), None);
        fs::write(root.path().join("outer/memory.max"), "536870912\n").unwrap();
        assert_eq!(limit(), Some(512 << 20));
        fs::write(inner.join("memory.max"), "1048576\n").unwrap();
        assert_eq!(limit(), Some(1 << 20));
        // The path of another namespace.
        fs::write(root.path().join("memory.max"), "2048\n").unwrap();
        assert_eq!(
            least(root.path(), Path::new("absent"), "memory.max"),
            Some(2048)
        );
    }

    #[test]
    fn reads_what_the_system_says() {
        let memory = "MemTotal:       24683652 kB\nMemFree: 1 kB\n";
        assert_eq!(total_in(memory), Some(24_683_652 << 10));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max address space         1073741824           unlimited            bytes\n";
        assert_eq!(address_space_in(limits), Some(1 << 30));
        assert_eq!(
            address_space_in(&limits.replace("1073741824", "unlimited ")),
            None
        );
        assert!(default_budget() > 0);
    }
}
