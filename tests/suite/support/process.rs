//! A server in a process of its own, to be killed or to be faulty.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server in a process of its own.
pub struct Process {
    pub child: Child,
    pub port: u16,
}

impl Process {
    /// Starts a sandbox, with a deliberate fault or without.
    pub fn start(data: &Path, database: &str, fault: Option<&str>) -> Self {
        Self::spawn(data, database, fault, None)
    }

    /// Starts a sandbox that writes its log, of every level, to a file.
    pub fn logging(data: &Path, database: &str, log: &Path) -> Self {
        Self::spawn(data, database, None, Some(log))
    }

    fn spawn(data: &Path, database: &str, fault: Option<&str>, log: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_habilis"));
        command
            .args([
                "sandbox",
                "--api",
                "127.0.0.1:0",
                "--portal",
                "127.0.0.1:0",
                "--workers",
                "2",
                "--database",
                database,
            ])
            .arg("--data")
            .arg(data)
            .arg("--certs")
            .arg(super::shared_pki())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(log) = log {
            command.stderr(std::fs::File::create(log).unwrap()).env("RUST_LOG", "warn,habilis=trace");
        }
        if let Some(fault) = fault {
            command.env("HABILIS_FAULT", fault);
        }
        let mut child = command.spawn().unwrap();
        let mut port = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(rest) = line.split("https://localhost:").nth(1)
                && port == 0
            {
                port = rest.split('/').next().unwrap().parse().unwrap();
            }
            if line == "ready" {
                return Self { child, port };
            }
        }
        panic!("the server does not start: {:?}", child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, or been killed, already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
