//! What a world without an SMTP server has mailed: the outbox.

use std::time::Duration;

use crate::world::World;

impl World {
    /// Waits for a mail to this address with these words in it, and takes it out of the outbox.
    pub async fn mail(&self, to: &str, words: &str) -> String {
        for _ in 0..400 {
            if let Some(found) =
                self.mails().into_iter().find(|(_, text)| is_to(text, to) && text.contains(words))
            {
                std::fs::remove_file(found.0).unwrap();
                return found.1;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no mail to {to} says {words:?}:\n{:?}", self.mails());
    }

    /// The ticket in the link of such a mail: `mailed_ticket("bob@example.org", "/join")`.
    pub async fn mailed_ticket(&self, to: &str, page: &str) -> String {
        let text = self.mail(to, &format!("{page}#")).await;
        let (_, rest) = text.split_once(&format!("{page}#")).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// The mails in the outbox, oldest first: file and text.
    pub fn mails(&self) -> Vec<(std::path::PathBuf, String)> {
        let files =
            std::fs::read_dir(self.data().join("outbox")).into_iter().flatten().flatten().map(|f| f.path());
        let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "eml")).collect();
        files.sort();
        let read = |file: std::path::PathBuf| {
            let text = std::fs::read_to_string(&file).ok()?;
            // Quoted-printable (RFC 2045 §6.7), where a name is not ASCII.
            let text = text.replace("=\r\n", "").replace("=3D", "=");
            Some((file, text))
        };
        files.into_iter().filter_map(read).collect()
    }
}

fn is_to(text: &str, to: &str) -> bool {
    text.lines().any(|line| line.strip_prefix("To: ").is_some_and(|whom| whom.trim_matches(['<', '>']) == to))
}
