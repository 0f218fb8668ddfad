//! What a running gateway keeps in its memory, looked at from outside: all that it can write to, heap and stacks alike.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::{Duration, Instant};

use harness::World;

use super::marks::Marks;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// No form of a mark is longer.
const OVERLAP: usize = 256;
/// Bytes around what is found, to tell what holds it.
const NEIGHBOURHOOD: usize = 160;
/// Until connections have ended, tasks are done and what was kept for a second or half a minute is let go.
const PATIENCE: Duration = Duration::from_secs(90);

/// The process that serves holds none of it a while after it has served. Root looks; another user, the gateway's own included, is
/// refused by the kernel, and that is what is shown then.
pub async fn forgets(w: &World, marks: &Marks) {
    let worker = w.processes().into_iter().find(|(_, line)| line.contains("--worker")).unwrap().0;
    let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{cores}");
    if !is_root() {
        for file in ["mem", "maps", "environ"] {
            let opened = File::open(format!("/proc/{worker}/{file}"));
            assert_eq!(
                opened.err().map(|e| e.kind()),
                Some(ErrorKind::PermissionDenied),
                "{file} of a gateway"
            );
        }
        return;
    }
    let begun = Instant::now();
    loop {
        let (looked_at, found) = held(worker, marks);
        assert!(looked_at > 1 << 20, "only {looked_at} bytes of a running process");
        if found.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "a gateway that has been idle for {PATIENCE:?} holds {found:#?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whoever runs the tests owns what they run.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// How many bytes were looked at, and which marks are in which mappings.
fn held(pid: u32, marks: &Marks) -> (usize, Vec<String>) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let (mut looked_at, mut found) = (0, Vec::new());
    let mut piece = vec![0; PIECE + OVERLAP];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        // Secrets are written, so they are where it can write.
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let name = fields.nth(3).unwrap_or("heap or a stack");
        while at < to {
            let length = usize::try_from(to - at).unwrap().min(piece.len());
            // What was unmapped meanwhile is not there.
            if memory.read_exact_at(&mut piece[..length], at).is_ok() {
                looked_at += length;
                found.extend(
                    within(&piece[..length], marks)
                        .into_iter()
                        .map(|mark| format!("in {name} at {at:x}: {mark}")),
                );
            }
            at += u64::try_from(PIECE).unwrap();
        }
    }
    (looked_at, found)
}

/// Most of a memory is zeros.
fn within(bytes: &[u8], marks: &Marks) -> Vec<String> {
    const PAGE: usize = 4096;
    if bytes.chunks(PAGE).all(|page| page == &[0; PAGE][..page.len()]) {
        return Vec::new();
    }
    let around = |at: usize| {
        let text = &bytes[at.saturating_sub(NEIGHBOURHOOD)..bytes.len().min(at + NEIGHBOURHOOD)];
        text.escape_ascii().to_string()
    };
    marks.places(bytes).into_iter().map(|(at, name)| format!("{name}, in {}", around(at))).collect()
}
