//! What a description tells people and programs about the thing: texts, versions, dates, addresses, links.

use super::super::format::{Format, is_language, is_uri, is_uri_reference};
use super::super::{MAX_LINKS, MAX_TEXT, MAX_TRANSLATIONS};
use super::{Reader, step};
use serde_json::{Map, Value};

impl Reader {
    /// `@type`, `title`, `titles`, `description`, `descriptions`: they may stand on everything.
    pub(super) fn words(&mut self, member: &Map<String, Value>, path: &str) {
        self.text(member, "title", path);
        self.text(member, "description", path);
        self.translations(member, "titles", path);
        self.translations(member, "descriptions", path);
        let types = match member.get("@type") {
            None => return,
            Some(Value::Array(types)) => types.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if !types.iter().all(|one| one.as_str().is_some_and(|text| text.len() <= MAX_TEXT)) {
            self.faults.add(step(path, "@type"), "must be a term or a list of terms");
        }
    }

    /// What stands on the thing alone.
    pub(super) fn thing_words(&mut self, root: &Map<String, Value>) {
        self.words(root, "$");
        for name in ["id", "support", "base"] {
            if let Some(text) = self.text(root, name, "$")
                && !is_uri(&text)
            {
                self.faults.add(step("$", name), "must be an address with a scheme (RFC 3986)");
            }
        }
        for name in ["created", "modified"] {
            if let Some(text) = self.text(root, name, "$")
                && !Format::DateTime.fits(&text)
            {
                self.faults.add(step("$", name), "must be a date and time as 2026-01-31T12:00:00Z");
            }
        }
        if let Some(version) = root.get("version") {
            match version {
                Value::Object(version) => {
                    if !version.contains_key("instance") {
                        self.faults.add("$.version.instance", "is required in a version");
                    }
                    self.text(version, "instance", "$.version");
                    self.text(version, "model", "$.version");
                }
                _ => self
                    .faults
                    .add("$.version", "must be an object such as {\"instance\": \"1.0.0\"}"),
            }
        }
        let profiles = match root.get("profile") {
            None => &[][..],
            Some(Value::Array(profiles)) => profiles.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if !profiles.iter().all(|one| one.as_str().is_some_and(is_uri)) {
            self.faults.add("$.profile", "must be an address or a list of addresses");
        }
        self.links(root.get("links"));
    }

    fn links(&mut self, links: Option<&Value>) {
        let links = match links {
            None => return,
            Some(Value::Array(links)) if links.len() <= MAX_LINKS => links,
            Some(_) => {
                return self
                    .faults
                    .add("$.links", format!("must be a list of at most {MAX_LINKS} links"));
            }
        };
        for (index, link) in links.iter().enumerate() {
            let path = format!("$.links[{index}]");
            let Some(link) = link.as_object() else {
                self.faults.add(path, "must be an object with an href");
                continue;
            };
            match link.get("href").and_then(Value::as_str) {
                Some(href) if href.len() <= MAX_TEXT && is_uri_reference(href) => {}
                _ => self.faults.add(format!("{path}.href"), "a link needs an address (RFC 3986)"),
            }
            for name in ["type", "rel", "anchor", "sizes"] {
                self.text(link, name, &path);
            }
            let languages = match link.get("hreflang") {
                None => &[][..],
                Some(Value::Array(languages)) => languages.as_slice(),
                Some(one) => std::slice::from_ref(one),
            };
            if !languages.iter().all(|one| one.as_str().is_some_and(is_language)) {
                self.faults
                    .add(format!("{path}.hreflang"), "must be a language tag (BCP 47) or a list");
            }
        }
    }

    fn translations(&mut self, member: &Map<String, Value>, name: &str, path: &str) {
        let path = step(path, name);
        match member.get(name) {
            None => {}
            Some(Value::Object(texts)) if texts.len() <= MAX_TRANSLATIONS => {
                for (language, text) in texts {
                    if !is_language(language) {
                        self.faults.add(step(&path, language), "is no language tag (BCP 47)");
                    }
                    if text.as_str().is_none_or(|text| text.len() > MAX_TEXT) {
                        self.faults.add(
                            step(&path, language),
                            format!("must be a text of at most {MAX_TEXT} bytes"),
                        );
                    }
                }
            }
            Some(_) => self.faults.add(
                path,
                format!("must be an object of at most {MAX_TRANSLATIONS} texts by language"),
            ),
        }
    }

    pub(super) fn text(
        &mut self,
        member: &Map<String, Value>,
        name: &str,
        path: &str,
    ) -> Option<String> {
        match member.get(name)? {
            Value::String(text) if text.len() <= MAX_TEXT => Some(text.clone()),
            _ => {
                self.faults
                    .add(step(path, name), format!("must be a text of at most {MAX_TEXT} bytes"));
                None
            }
        }
    }
}
