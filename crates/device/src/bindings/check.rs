//! Whether bindings fit their Thing Description, and whether the machine has what they name.

use super::raw::{Compiled, Entry, Making, Raw, RawProperty, Rest};
use super::{Binding, Bindings, Format, HttpAt, Property, Source, Watch};
use crate::sandbox::find_program;
use countersign_model::id::AffordanceName;
use countersign_model::thing::{
    BUILT_IN_ACTIONS, BUILT_IN_PROPERTIES, DataSchema, ThingDescription,
};
use nix::unistd::{AccessFlags, access};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Where everybody may write.
const OTHERS_MAY_WRITE: u32 = 0o002;

impl Making<'_> {
    /// Every operation that the description declares is bound, and nothing else.
    //= specs/house.md#house-bindings
    //# A binding of what the description does not declare, and a declared affordance without a binding, MUST be an error before anything is served.
    pub(super) fn against(&mut self, raw: &Raw, thing: &ThingDescription) -> Compiled {
        let mut compiled = Compiled::default();
        let rest = (raw.rest == Some(Rest::Socket))
            .then_some(Binding { source: Source::Socket, format: Format::Json });
        let none = RawProperty::default();
        let of_product = |own: &[&str], name: &AffordanceName| !own.contains(&name.as_str());
        for (name, property) in
            thing.properties().iter().filter(|(name, _)| of_product(&BUILT_IN_PROPERTIES, name))
        {
            let at = format!("properties.{name}");
            let entry = raw.properties.get(name.as_str()).unwrap_or(&none);
            let schema = Some(property.schema());
            let mut side = |word: &str, entry: Option<&Entry>, allowed: bool| {
                let at = format!("{at}.{word}");
                match (entry, allowed) {
                    (Some(_), false) => {
                        self.fault(&at, "the description does not allow it; take it out");
                        None
                    }
                    (Some(entry), true) => {
                        self.once(&at, entry).inspect(|binding| self.fits(&at, binding, schema))
                    }
                    (None, true) => self.rest(&at, rest.as_ref()),
                    (None, false) => None,
                }
            };
            let read = side("read", entry.read.as_ref(), property.readable());
            let write = side("write", entry.write.as_ref(), property.writable());
            compiled.0.insert(name.clone(), Property { read, write });
        }
        for (name, action) in
            thing.actions().iter().filter(|(name, _)| of_product(&BUILT_IN_ACTIONS, name))
        {
            let at = format!("actions.{name}");
            let binding = match raw.actions.get(name.as_str()) {
                Some(entry) => self.once(&at, entry),
                None => self.rest(&at, rest.as_ref()),
            };
            let Some(binding) = binding else { continue };
            if matches!(binding.source, Source::File { .. }) {
                let schema = action.input();
                match schema {
                    Some(_) => self.fits(&at, &binding, schema),
                    None => self.fault(&at, "has no input that could be written to a file"),
                }
            }
            compiled.1.insert(name.clone(), binding);
        }
        for (name, event) in thing.events() {
            let at = format!("events.{name}");
            let every = std::time::Duration::from_secs(1);
            let watch = match raw.events.get(name.as_str()) {
                Some(entry) => self.watch(&at, entry),
                None => self.rest(&at, rest.as_ref()).map(|binding| Watch { binding, every }),
            };
            let Some(watch) = watch else { continue };
            if event.data().is_some() {
                self.fits(&at, &watch.binding, event.data());
            }
            compiled.2.insert(name.clone(), watch);
        }
        let (properties, actions) = (thing.properties(), thing.actions());
        self.unknown("properties", raw.properties.keys(), properties, &BUILT_IN_PROPERTIES);
        self.unknown("actions", raw.actions.keys(), actions, &BUILT_IN_ACTIONS);
        self.unknown("events", raw.events.keys(), thing.events(), &[]);
        compiled
    }

    fn rest(&mut self, at: &str, rest: Option<&Binding>) -> Option<Binding> {
        match rest {
            Some(_) => self.socket = true,
            None => self.fault(at, "is declared and bound to nothing; bind it, or set rest"),
        }
        rest.cloned()
    }

    fn unknown<'a, T>(
        &mut self,
        table: &str,
        bound: impl Iterator<Item = &'a String>,
        declared: &BTreeMap<AffordanceName, T>,
        own: &[&str],
    ) {
        let declared: BTreeSet<&str> = declared.keys().map(AffordanceName::as_str).collect();
        for name in bound {
            if own.contains(&name.as_str()) {
                self.fault(&format!("{table}.{name}"), "is the agent's own; take it out");
            } else if !declared.contains(name.as_str()) {
                self.fault(&format!("{table}.{name}"), "is not in the Thing Description");
            }
        }
    }

    /// Whether a format can give what the schema wants.
    fn fits(&mut self, at: &str, binding: &Binding, schema: Option<&DataSchema>) {
        let Some(schema) = schema else { return };
        let wanted = schema.type_name();
        let (gives, named): (&[&str], _) = match &binding.format {
            Format::Json => return,
            Format::Text => (&["string", "any"], "text"),
            Format::Number { .. } => (&["number", "integer", "any"], "number"),
            Format::Boolean { .. } => (&["boolean", "any"], "boolean"),
        };
        if !gives.contains(&wanted) {
            self.fault(
                at,
                &format!("format: {named} gives no {wanted}, which the description wants"),
            );
        }
    }
}

impl Bindings {
    /// What this machine lacks; programs get their whole path.
    pub(super) fn surroundings(&mut self, data: Option<&Path>) -> Vec<String> {
        let mut faults = data.map(|data| self.sandbox.faults(data)).unwrap_or_default();
        let base = self.base.clone();
        let mut every: Vec<(String, bool, bool, &mut Binding)> = Vec::new();
        for (name, property) in &mut self.properties {
            let read = property.read.as_mut();
            every.extend(read.map(|one| (format!("properties.{name}.read"), true, false, one)));
            let write = property.write.as_mut();
            every.extend(write.map(|one| (format!("properties.{name}.write"), false, true, one)));
        }
        for (name, binding) in &mut self.actions {
            every.push((format!("actions.{name}"), false, true, binding));
        }
        for (name, watch) in &mut self.events {
            every.push((format!("events.{name}"), true, false, &mut watch.binding));
        }
        for (at, reads, writes, binding) in every {
            let fault = match &mut binding.source {
                Source::Command { program, .. } => {
                    let named = program.to_string_lossy().into_owned();
                    match find_program(&named, &base) {
                        Ok(found) => {
                            *program = found;
                            None
                        }
                        Err(fault) => Some(format!("command: {fault}")),
                    }
                }
                Source::File { path, replace } => file_fault(path, reads, writes, *replace, data)
                    .map(|why| format!("file: {}: {why}", path.display())),
                Source::Http { .. } | Source::Socket => None,
            };
            faults.extend(fault.map(|fault| format!("{at}: {fault}")));
        }
        if let Some(HttpAt::Unix(at)) = &self.http
            && !is_socket_or_absent(&at.path)
        {
            faults.push(format!("http.base: {} is no socket", at.path.display()));
        }
        if let Some(socket) = &self.socket
            && !is_socket_or_absent(&socket.path)
        {
            faults.push(format!("socket.path: {} is no socket", socket.path.display()));
        }
        faults
    }
}

/// A product that starts later makes its socket later.
fn is_socket_or_absent(path: &Path) -> bool {
    path.metadata().map_or(true, |about| about.file_type().is_socket())
}

fn file_fault(
    path: &Path,
    reads: bool,
    writes: bool,
    replace: bool,
    data: Option<&Path>,
) -> Option<String> {
    let folder = path.parent()?;
    let Ok(folder_about) = folder.metadata() else {
        return Some("its folder is not there".to_owned());
    };
    let real = folder.canonicalize().ok()?;
    if data.and_then(|data| data.canonicalize().ok()).is_some_and(|data| real.starts_with(data)) {
        return Some("lies in the device's data folder; put it elsewhere".to_owned());
    }
    if folder_about.mode() & OTHERS_MAY_WRITE != 0 {
        return Some(
            "everybody may write in its folder, and so put another in its place".to_owned(),
        );
    }
    let may = |path: &Path, what| access(path, what).is_ok();
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => {
            Some("is a symbolic link; write the file that it leads to".to_owned())
        }
        Ok(about) if !about.is_file() => Some("is no regular file".to_owned()),
        Ok(_) if reads && !may(path, AccessFlags::R_OK) => {
            Some("cannot be read by this user".to_owned())
        }
        Ok(_) if writes && !may(if replace { folder } else { path }, AccessFlags::W_OK) => {
            Some("cannot be written by this user".to_owned())
        }
        Ok(_) => None,
        Err(_) if writes && replace && !reads => {
            (!may(folder, AccessFlags::W_OK)).then(|| "cannot be made by this user".to_owned())
        }
        Err(_) => Some("there is nothing".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plug() -> ThingDescription {
        ThingDescription::parse(crate::PLUG_DESCRIPTION.as_bytes()).unwrap()
    }

    fn faults(text: &str) -> Vec<String> {
        Bindings::compile(text, Path::new("/b"), &plug()).1
    }

    const WHOLE: &str = r#"
        [http]
        base = "http://127.0.0.1:8080"
        [properties.relay]
        read = { http = "GET /status", pointer = "/on" }
        write = { http = "PUT /relay", pointer = "/on" }
        [properties.power]
        read = { file = "power", format = "number", scale = 0.001 }
        [properties.energy]
        read = { command = ["cat", "/b/energy"] }
        [properties.maxPower]
        read = { file = "limit", format = "number" }
        write = { file = "limit", format = "number" }
        [actions]
        toggle = { http = "POST /toggle" }
        resetEnergy = { command = ["./reset"] }
        [events]
        overload = { http = "GET /overload", every_ms = 500 }
    "#;

    #[test]
    fn a_whole_file_fits_and_one_word_binds_the_rest() {
        assert_eq!(faults(WHOLE), [] as [&str; 0]);
        assert_eq!(faults("rest = \"socket\"\n[socket]\npath = \"s\""), [] as [&str; 0]);
    }

    //= specs/house.md#house-bindings
    //= type=test
    //# A binding of what the description does not declare, and a declared affordance without a binding, MUST be an error before anything is served.
    //= specs/house.md#house-bindings
    //= type=test
    //# A product behind the gate MUST be reached over loopback or a Unix socket only.
    #[test]
    fn every_fault_is_named_by_its_place() {
        for (from, to, fault) in [
            (
                "[properties.energy]\n        read = { command = [\"cat\", \"/b/energy\"] }",
                "",
                "properties.energy.read: is declared and bound to nothing",
            ),
            ("[actions]", "[actions]\nfly = { socket = true }", "actions.fly: is not in the Thing"),
            (
                "[actions]",
                "[actions]\nreset = { command = [\"x\"] }",
                "actions.reset: is the agent's own",
            ),
            (
                "[properties.power]",
                "[properties.power]\nwrite = { file = \"p\" }",
                "properties.power.write: the description does not allow",
            ),
            (
                "\"number\", scale = 0.001",
                "\"boolean\"",
                "properties.power.read: format: boolean gives no number",
            ),
            ("\"number\", scale = 0.001", "\"number\", scale = 0.0", "scale"),
            ("\"number\", scale = 0.001", "\"colour\"", "properties.power.read: format: use json"),
            ("127.0.0.1:8080", "192.168.1.9:8080", "http.base: the product must not be reachable"),
            ("http://127.0.0.1:8080", "https://plug.local", "http.base: write http://127.0.0.1"),
            (
                "127.0.0.1:8080",
                "[::ffff:192.168.1.9]:8080",
                "http.base: the product must not be reachable",
            ),
            ("[http]", "[http]\nuser = 7", "http.user: is for a Unix socket"),
            ("POST /toggle", "TOGGLE /", "actions.toggle: http: the method"),
            ("POST /toggle", "POST toggle", "actions.toggle: http: the path"),
            ("[\"./reset\"]", "[]", "actions.resetEnergy: command: name the program"),
            ("every_ms = 500", "every_ms = 5", "events.overload: every_ms"),
            (
                "pointer = \"/on\" }\n        write",
                "pointer = \"on\" }\n        write",
                "properties.relay.read: pointer",
            ),
            (
                "{ file = \"limit\", format = \"number\" }\n        write",
                "{ file = \"limit\", socket = true }\n        write",
                "properties.maxPower.read: write exactly one",
            ),
            ("[http]", "[limits]\nat_once = 0\n[http]", "limits.at_once: use 1 to 64"),
            ("[http]", "[socket]\npath = \"s\"\n[http]", "[socket]: nothing is bound to it"),
            ("[http]", "[http]\ncolour = 1", "colour"),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "{from}");
            let found = faults(&text).join("\n");
            assert!(found.contains(fault), "{fault}: {found}");
        }
    }

    #[test]
    fn an_ipv4_loopback_is_one_however_it_is_written() {
        let (here, mapped) = ("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080");
        let (bindings, faults) =
            Bindings::compile(&WHOLE.replace(here, mapped), Path::new("/b"), &plug());
        assert_eq!(faults, [] as [&str; 0]);
        assert_eq!(bindings.unwrap().http, Some(HttpAt::Loopback(here.parse().unwrap())));
    }

    /// The agent's own names are its own among those of the same kind.
    #[test]
    fn an_action_may_be_called_as_a_property_of_the_agents_is() {
        let text = serde_json::json!({
            "@context": ["https://www.w3.org/2022/wot/td/v1.1", { "countersign": "urn:countersign:td#" }],
            "title": "Door",
            "securityDefinitions": { "home": { "scheme": "auto" } },
            "security": ["home"],
            "properties": { "invite": { "type": "string", "readOnly": true, "countersign:role": "viewer" } },
            "actions": { "access": { "countersign:role": "member" } },
            "events": { "reset": { "countersign:role": "viewer" } },
        });
        let door = ThingDescription::parse(text.to_string().as_bytes()).unwrap();
        let faults = |text: &str| Bindings::compile(text, Path::new("/b"), &door).1;
        let whole = "[properties.invite]\nread = { file = 'i' }\n[actions]\naccess = { command = ['./open'] }\n\
                     [events]\nreset = { file = 'r' }";
        assert_eq!(faults(whole), [] as [&str; 0]);
        assert_eq!(faults("").len(), 3, "{:?}", faults(""));
    }

    #[test]
    fn what_the_machine_lacks_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(folder.path().join("plain"), "1").unwrap();
        std::os::unix::fs::symlink("plain", folder.path().join("link")).unwrap();
        let of = |source: &str| {
            let text = format!(
                "rest = \"socket\"\n[socket]\npath = \"s\"\n[properties.energy]\nread = {source}"
            );
            let (bindings, faults) = Bindings::compile(&text, folder.path(), &plug());
            assert_eq!(faults, [] as [&str; 0]);
            bindings.unwrap().surroundings(Some(&data)).join("\n")
        };
        for (source, fault) in [
            ("{ file = \"plain\" }", ""),
            ("{ command = [\"cat\"] }", ""),
            ("{ file = \"link\" }", "is a symbolic link"),
            ("{ file = \"nothing\" }", "there is nothing"),
            ("{ file = \"data/seal.key\" }", "lies in the device's data folder"),
            ("{ command = [\"./plain\"] }", "is no program"),
            ("{ command = [\"no-such-program\"] }", "not found in PATH"),
        ] {
            let found = of(source);
            assert!(
                found.contains(fault) && found.is_empty() == fault.is_empty(),
                "{source}: {found}"
            );
        }
    }
}
