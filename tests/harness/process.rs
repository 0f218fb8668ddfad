//! A child process, with what it said.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Killed when dropped.
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
        let said = Arc::new(Mutex::new(String::new()));
        gather(child.stdout.take().unwrap(), said.clone());
        gather(child.stderr.take().unwrap(), said.clone());
        Self { child, said }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written so far, on both streams.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _dead = self.child.kill();
        let _status = self.child.wait();
    }

    /// SIGTERM, and waits for the end.
    pub fn end(&mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        self.wait(Duration::from_secs(20))
    }

    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < patience, "the process does not end; it said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Processes whose parent this one is, with their command lines.
    pub fn children(&self) -> Vec<(u32, String)> {
        children_of(self.child.id())
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let _gone =
        Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

fn children_of(parent: u32) -> Vec<(u32, String)> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    processes
        .filter(|pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name in the second field may hold anything; the parent is the second field after it.
            let rest = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
            rest.split_whitespace().nth(1) == Some(&parent.to_string())
        })
        .map(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, line.replace('\0', " "))
        })
        .collect()
}

fn gather(stream: impl Read + Send + 'static, said: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
