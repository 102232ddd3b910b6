//! `countersign authority code`: printed once, kept nowhere.

use std::path::PathBuf;
use std::time::Duration;

use countersign_authority::subject::Subject;
use countersign_model::grant::Grant;
use serde_json::json;

use super::{Profile, open};
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, clap::Args)]
pub(crate) struct CodeArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// The name of whoever enrols by it.
    #[arg(long, alias = "subject")]
    name: String,
    /// What that is.
    #[arg(long, alias = "kind", value_enum, default_value_t = Profile::Device)]
    profile: Profile,
    /// How long the code stands: a number with s, m, h or d; at most 7d.
    #[arg(long = "for", value_parser = life, default_value = "15m", value_name = "TIME")]
    life: Duration,
    /// What a service may do: "subscribe FILTER" or "publish FILTER"; may stand several times.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: CodeArgs) -> Ended {
    let subject = match arguments.profile {
        Profile::Device if !arguments.grants.is_empty() => {
            return Err(Failure::environment(
                "--grant: a device's rights follow from its name; grants are for --profile service",
            ));
        }
        Profile::Device => Subject::Thing(arguments.name.parse().named("--name")?),
        Profile::Service => Subject::Service(arguments.name.parse().named("--name")?),
        Profile::Operator => {
            return Err(Failure::environment(
                "--profile: only devices and services enrol by a code",
            ));
        }
    };
    let authority = open(&arguments.data).await?;
    let made = authority.new_code(subject, &arguments.grants, arguments.life).await?;
    let (name, ends) = (made.subject.name(), made.ends.to_rfc3339());
    if arguments.json {
        let subject = made.subject.to_string();
        print_json(&json!({"subject": subject, "user": name, "code": made.code, "ends": ends}));
    } else {
        say(&format!("{}  for {}, once, until {ends}", made.code, made.subject));
        say(&format!("EST takes it as the password of HTTP Basic, with the user name {name}"));
    }
    Ok(())
}

fn life(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?}: use a number with s, m, h or d, such as 15m");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}
