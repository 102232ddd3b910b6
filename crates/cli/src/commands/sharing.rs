//! `countersign control share`, `join`, `role`, `admit`, `history`, `network`: other people at a device.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countersign_controller::Invitation;
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::invite::Invite;
use countersign_model::label::SetupCode;
use countersign_model::role::Role;
use countersign_protocol::invitation::{MAX_LIFE, MIN_LIFE};
use countersign_protocol::journal::{Entry, Grown};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;

use super::control::{With, given, home, judged, network as credentials, roots};
use crate::args::{HOME, address};
use crate::complete::Known;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, clap::Args)]
pub(crate) struct ShareArgs {
    #[command(flatten)]
    with: With,
    /// viewer, member or owner.
    #[arg(long, add = Known::Role)]
    role: Role,
    /// The name that the invited person has at this device; left out: guest-….
    #[arg(long)]
    person: Option<PersonName>,
    /// How long the code works: 30s to 1h.
    #[arg(long = "for", default_value = "10m", value_parser = life, value_name = "TIME")]
    for_: Duration,
    /// Print one JSON object. It holds the code.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// The home's folder; made when it is not there.
    #[arg(long, env = HOME)]
    home: PathBuf,
    /// Who owns a home that is made now.
    #[arg(long, default_value = "owner")]
    owner: PersonName,
    /// The maker's roots, PEM: `roots.pem`, or `device-roots.pem` for a device that was made before a root was withdrawn.
    #[arg(long)]
    roots: PathBuf,
    /// The text of the invitation's QR code; `-` reads it from standard input.
    #[arg(long, required_unless_present = "code", conflicts_with_all = ["code", "thing"])]
    invitation: Option<String>,
    /// The typed code; `-` reads it from standard input.
    #[arg(long, requires_all = ["thing", "device"])]
    code: Option<String>,
    /// The device that it is for.
    #[arg(long, requires = "code")]
    thing: Option<ThingId>,
    /// Where the device's local API is; left out: where the invitation says.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    device: Option<SocketAddr>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    with: With,
    /// Who.
    #[arg(long, add = Known::Holder)]
    person: PersonName,
    /// viewer, member or owner.
    #[arg(long, add = Known::Role)]
    role: Role,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AdmitArgs {
    #[command(flatten)]
    with: With,
    /// A name for it.
    #[arg(long)]
    person: PersonName,
    /// viewer, member or owner.
    #[arg(long, add = Known::Role)]
    role: Role,
    /// Write a key and certificate for it to this folder.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    with: With,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    #[command(flatten)]
    with: With,
    /// The wireless network to join.
    #[arg(long)]
    ssid: String,
    /// A file with the network's key.
    #[arg(long)]
    network_key_file: PathBuf,
}

/// `90s`, `10m`, `1h`.
fn life(text: &str) -> Result<Duration, String> {
    let bad = || {
        let (least, most) = (MIN_LIFE.as_secs(), MAX_LIFE.as_secs() / 60);
        format!("write a time such as 90s, 10m or 1h, from {least}s to {most}m")
    };
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(bad()),
    };
    let number: u64 = text.trim_end_matches(['s', 'm', 'h']).parse().map_err(|_| bad())?;
    let life = Duration::from_secs(number.saturating_mul(unit));
    if (MIN_LIFE..=MAX_LIFE).contains(&life) { Ok(life) } else { Err(bad()) }
}

pub(crate) async fn share(arguments: ShareArgs) -> Ended {
    let ShareArgs { with, role, person, for_, json: as_json } = arguments;
    let (home, mut session) = with.session().await?;
    let person = match person {
        Some(person) => person,
        None => {
            let random: &mut dyn Random = &mut SystemRandom;
            format!("guest-{:08x}", u32::from_be_bytes(random.array())).parse()?
        }
    };
    let until = SystemClock.now().plus(for_).to_rfc3339();
    let code = session.invite(&with.thing, person.clone(), role, for_).await.map_err(judged)?;
    home.saw_person(&with.thing, &person);
    drop(session);
    let by = with.person(&home)?;
    let invite = home.invite_text(code, &by, &with.thing, with.at).await.map_err(judged)?;
    let (text, printed) = (invite.qr_text(), invite.code().printed());
    if as_json {
        print_json(&json!({
            "thing": with.thing, "person": person, "role": role, "until": until,
            "address": invite.address(), "code": printed.as_str(), "invitation": text.as_str(),
        }));
        return Ok(());
    }
    let qr = QrCode::new(text.as_bytes())?;
    let drawn =
        qr.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    say(&drawn);
    say(&format!("{person} can join {} as {role}, once, until {until}.", with.thing));
    say("On their own machine, with the roots.pem of the device's maker:");
    say(&format!(
        "  countersign control join --home ./home --roots roots.pem --invitation '{}'",
        text.as_str()
    ));
    say("or, typed:");
    say(&format!(
        "  countersign control join --home ./home --roots roots.pem --thing {} --device {} --code {}",
        with.thing,
        invite.address(),
        printed.as_str()
    ));
    Ok(())
}

pub(crate) async fn join(arguments: JoinArgs) -> Ended {
    // Everything that was given is checked before anything is made or sent.
    let invitation =
        match (&arguments.invitation, &arguments.code, &arguments.thing, arguments.device) {
            (Some(text), ..) => {
                Invitation::Text(Invite::parse(&given(text)?).named("--invitation")?)
            }
            (None, Some(code), Some(thing), Some(device)) => {
                let code = SetupCode::parse(&given(code)?).named("--code")?;
                Invitation::Typed(thing.clone(), code, device)
            }
            _ => {
                let text = "--invitation, or --code with --thing and --device, is needed";
                return Err(Failure::environment(text));
            }
        };
    let roots = roots(&arguments.roots)?;
    let home = home(&arguments.home, arguments.owner)?;
    let joined = home.join(invitation, arguments.device, &roots).await.map_err(judged)?;
    print_json(&json!({
        "thing": joined.thing, "person": joined.person, "role": joined.role,
    }));
    Ok(())
}

pub(crate) async fn role(arguments: RoleArgs) -> Ended {
    let RoleArgs { with, person, role } = arguments;
    let (home, mut session) = with.session().await?;
    let now = session.access(&person).await.map_err(judged)?;
    if now["role"].is_null() {
        let text = format!("{person} has no role at {}: invite them with `share`", with.thing);
        return Err(Failure::found(text));
    }
    session.share(&person, role).await.map_err(judged)?;
    home.saw_person(&with.thing, &person);
    say(&format!("{person}: {role} at {}", with.thing));
    Ok(())
}

pub(crate) async fn admit(arguments: AdmitArgs) -> Ended {
    let AdmitArgs { with, person, role, out } = arguments;
    let (home, mut session) = with.session().await?;
    if !home.persons().contains(&person) {
        home.issue_person(person.clone())?;
    }
    session.share(&person, role).await.map_err(judged)?;
    home.saw_person(&with.thing, &person);
    if let Some(folder) = out {
        home.export_person(&person, &folder)?;
        say(&format!("{}", folder.join(format!("{person}.crt")).display()));
    }
    say(&format!("{person}: {role} at {}", with.thing));
    Ok(())
}

pub(crate) async fn history(arguments: HistoryArgs) -> Ended {
    let (home, mut session) = arguments.with.session().await?;
    let journal = session.history().await.map_err(judged)?;
    let grown = home.compare_history(&arguments.with.thing, &journal).map_err(judged)?;
    if arguments.json {
        let new = match grown {
            Grown::By(new) => json!(new),
            Grown::Gap => json!(null),
        };
        print_json(&json!({ "thing": arguments.with.thing, "new": new, "history": journal }));
        return Ok(());
    }
    journal.entries().for_each(|entry| say(&line(entry)));
    say(&match grown {
        Grown::By(new) => format!("verified; {new} new since this home looked last"),
        Grown::Gap => {
            "verified; more happened since this home looked last than a device keeps".to_owned()
        }
    });
    Ok(())
}

fn line(entry: &Entry) -> String {
    let note = entry.note();
    let mut what = note.what().as_str().to_owned();
    if let Some(person) = note.person() {
        what += &format!("  {person}");
    }
    if let Some(role) = note.role() {
        what += &format!(" as {role}");
    }
    if let Some(words) = note.words() {
        what += &format!(" ({words})");
    }
    format!("{:>5}  {}  {what}  by {}", entry.number(), entry.at().to_rfc3339(), entry.by())
}

pub(crate) async fn network(arguments: NetworkArgs) -> Ended {
    let network = credentials(arguments.ssid, &arguments.network_key_file)?;
    let mut session = arguments.with.session().await?.1;
    session.replace_network(&network).await.map_err(judged)?;
    say(&format!("{}: the network is {} now", arguments.with.thing, network.ssid));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_within_their_bounds() {
        assert_eq!(life("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(life("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(life("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "10", "m", "5s", "2h", "-1m", "10 m", "1\u{e9}", "99999999999999999999m"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }
}
