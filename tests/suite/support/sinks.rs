//! A real SMTP server and a receiver of webhooks, in a process of their own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use habilis::notification::{MailSettings, NoticeSettings, WebhookSettings};
use serde_json::Value;

pub struct Sinks {
    child: Child,
    smtp: u16,
    https: u16,
    folder: tempfile::TempDir,
}

/// The key of the webhook's signature.
pub const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

impl Sinks {
    pub fn start() -> Self {
        let python = std::env::var("HABILIS_TEST_SMTP")
            .expect("HABILIS_TEST_SMTP is not set: run the tests with ./scripts/test");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("behaviour"), "ok").unwrap();
        let certs = super::shared_pki();
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/sinks.py"))
            .args([&certs.join("server.pem"), &certs.join("server.key"), folder.path()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
        Self { child, smtp: ports[0], https: ports[1], folder }
    }

    /// How mail and posts are answered from here on.
    pub fn behave(&self, how: &str) {
        let path = self.folder.path().join("behaviour");
        let next = self.folder.path().join("behaviour.next");
        std::fs::write(&next, how).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    pub fn settings(&self) -> NoticeSettings {
        let authority: PathBuf = super::shared_pki().join("ca.pem");
        NoticeSettings {
            mail: Some(MailSettings {
                host: "localhost".into(),
                port: self.smtp,
                implicit_tls: false,
                authority: Some(authority.clone()),
                credentials: None,
                from: "DMP <ne-pas-repondre@dmp.example>".into(),
                more: "https://www.monespacesante.fr".into(),
            }),
            webhook: Some(WebhookSettings {
                url: format!("https://localhost:{}/avis", self.https),
                key: KEY.to_vec(),
                authority,
            }),
            professionals: [("810100000016".to_owned(), "docteur@mssante.example".to_owned())].into(),
        }
    }

    /// The address of a receiver.
    pub fn receiver(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.https)
    }

    fn all(&self, kind: &str) -> Vec<Value> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == kind));
        paths.sort();
        paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
    }

    /// The e-mails so far.
    pub fn mails(&self) -> Vec<Value> {
        self.all("mail")
    }

    /// The posts so far.
    pub fn posts(&self) -> Vec<Value> {
        self.all("post")
    }

    /// Posts that were answered with an error.
    pub fn refused(&self) -> Vec<Value> {
        self.all("refused")
    }

    /// Waits for so many e-mails.
    #[track_caller]
    pub fn await_mails(&self, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{} of {count} e-mails", mails.len());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
