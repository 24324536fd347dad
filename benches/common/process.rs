//! What the kernel says of a process: `man proc_pid_stat`, `man proc_pid_status`. `pid` may be `self`.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{fmt::Display, fs};

/// Seconds of the processors that the process took, all threads, in user code and in the kernel.
pub(crate) fn processor(pid: impl Display) -> f64 {
    ticks(pid, 14)
}

/// The same of its children that ended.
pub(crate) fn processor_of_children(pid: impl Display) -> f64 {
    ticks(pid, 16)
}

/// Two fields of `stat` from this one on, as seconds.
fn ticks(pid: impl Display, field: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name, in brackets.
    let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = rest.split_whitespace().skip(field - 3).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The memory that the process has now, in MiB.
pub(crate) fn resident(pid: impl Display) -> f64 {
    memory(pid, "VmRSS:")
}

/// The most memory that it had since it began, or since [`forget_peak`], in MiB.
pub(crate) fn peak(pid: impl Display) -> f64 {
    memory(pid, "VmHWM:")
}

/// From now on [`peak`] counts anew.
pub(crate) fn forget_peak(pid: impl Display) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

fn memory(pid: impl Display, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// The process that listens on this port of this machine, if this user may see it.
pub(crate) fn listener(port: u16) -> Option<u32> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let inode = sockets.iter().flat_map(|text| text.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Local address, state (0A: listening), inode.
        let listens = fields.get(1)?.ends_with(&format!(":{port:04X}")) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
    })?;
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == inode.as_str()))
    })
}

/// As [`processor`], to the nanosecond, but without threads that have ended: for short times of processes that keep theirs.
pub(crate) fn processor_of_threads(pid: impl Display) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok()).sum::<f64>() / 1e9
}
