//! What a world's Talon has written to people, in its outbox.

use std::time::{Duration, Instant};

use crate::world::World;

impl World {
    /// Waits for a mail to this address with this subject, and takes it out of the outbox; its text.
    pub async fn mail(&self, to: &str, subject: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(text) = self.take_mail(to, subject) {
                return text;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "no mail {subject:?} to {to}:\n{}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The ticket in the link of such a mail.
    pub async fn ticket(&self, to: &str, subject: &str) -> String {
        let text = self.mail(to, subject).await;
        let link =
            text.lines().find(|line| line.starts_with("http")).unwrap_or_else(|| panic!("no link: {text}"));
        link.split_once('#').unwrap().1.trim().to_owned()
    }

    /// Whether such a mail waits in the outbox now.
    pub fn has_mail(&self, to: &str, subject: &str) -> bool {
        self.mails().iter().any(|(_, text)| is(text, to, subject))
    }

    fn take_mail(&self, to: &str, subject: &str) -> Option<String> {
        let (path, text) = self.mails().into_iter().find(|(_, text)| is(text, to, subject))?;
        std::fs::remove_file(path).unwrap();
        Some(text)
    }

    fn mails(&self) -> Vec<(std::path::PathBuf, String)> {
        let Ok(folder) = std::fs::read_dir(self.data().join("outbox")) else { return Vec::new() };
        let mails = folder.filter_map(|entry| Some(entry.ok()?.path()));
        let mails = mails.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
        mails.filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?))).collect()
    }
}

fn is(text: &str, to: &str, subject: &str) -> bool {
    text.contains(&format!("To: {to}\r\n")) && text.contains(&format!("Subject: {subject}\r\n"))
}
