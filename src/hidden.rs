//! What others say, without our own secrets: a server, or a proxy in front of it, may repeat what it was sent, and what they
//! say gets into logs and error messages.

use percent_encoding::percent_decode_str;
use std::sync::{PoisonError, RwLock};

/// Those of this process. Logs are the process's own as well.
static SECRETS: RwLock<Secrets> = RwLock::new(Secrets(Vec::new()));

/// What stands in their place.
const HIDDEN: &str = "(hidden)";
/// What is shorter is no secret worth the name, and stands in ordinary words.
const SHORTEST: usize = 6;

/// Remembers a secret, and if it is a URL, or several, the login in each.
pub(crate) fn remember(secret: &str) {
    SECRETS.write().unwrap_or_else(PoisonError::into_inner).add(secret);
}

/// The text without any of them. To be asked before a text is cut off, which may leave half a secret.
pub(crate) fn without_secrets(text: &str) -> String {
    SECRETS.read().unwrap_or_else(PoisonError::into_inner).taken_from(text)
}

/// The longest first, as one may be part of another.
struct Secrets(Vec<String>);

impl Secrets {
    fn add(&mut self, secret: &str) {
        for url in secret.split(',').filter_map(|url| url.split_once("://")) {
            let Some((login, _)) = url.1.rsplit_once('@') else { continue };
            let password = login.split_once(':').map_or(login, |(_, password)| password);
            self.add_word(password);
            self.add_word(&percent_decode_str(password).decode_utf8_lossy());
        }
        self.add_word(secret.trim());
        self.0.sort_by_key(|word| std::cmp::Reverse(word.len()));
    }

    fn add_word(&mut self, word: &str) {
        if word.len() >= SHORTEST && !self.0.iter().any(|known| known == word) {
            self.0.push(word.to_owned());
        }
    }

    fn taken_from(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_in_whatever_form_it_was_set() {
        let mut secrets = Secrets(Vec::new());
        for secret in
            ["hunter2", "hunter2-longer", "amqp://me:geh%40eim@a:1/v,amqp://me:other-one@b", "nats://t0ken-1@c", "x"]
        {
            secrets.add(secret);
        }
        for (text, expected) in [
            ("key: hunter2 ; x", "key: (hidden) ; x"),
            ("hunter2-longer", "(hidden)"),
            ("geh%40eim, geh@eim and other-one", "(hidden), (hidden) and (hidden)"),
            ("t0ken-1", "(hidden)"),
            ("an example", "an example"),
        ] {
            assert_eq!(secrets.taken_from(text), expected);
        }
    }
}
