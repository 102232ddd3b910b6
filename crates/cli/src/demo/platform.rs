//! The maker's side: ceremony, the process of authority and gateway, the factory, and the device's process.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::Path;

use countersign_assessor::Baseline;
use countersign_assessor::probe::scan;
use countersign_authority::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use countersign_authority::factory::LabelFiles;
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, Sources};
use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::tls::TlsIdentity;
use countersign_model::id::ThingId;
use countersign_model::label::Label;
use countersign_protocol::hex;

use super::stage::Teller;
use super::status::Status;
use crate::commands::{authority, control};
use crate::failure::{Ended, Failure, Named as _};
use crate::serve::Ready;
use crate::spawn::Process;

/// The example product, as its maker describes it.
const PLUG: &str = include_str!("../../../device/things/plug.td.json");
/// What only its maker knows of it.
pub(super) const PLUG_MAKER: &str = include_str!("../../../device/things/plug.maker.toml");

/// Authority and gateway in one process of their own, and this process' view of the same data folder.
pub(super) struct Platform {
    pub(super) authority: Authority,
    pub(super) process: Process,
    pub(super) ready: Ready,
    pub(super) policy: CompiledPolicy,
    pub(super) roots: Vec<Certificate>,
    pub(super) certs: std::path::PathBuf,
}

impl Platform {
    pub(super) async fn start(data: &Path, keep: bool, tell: Teller) -> Ended<Self> {
        let folder = data.join("platform");
        countersign_crypto::file::private_folder(&folder).at(&folder)?;
        let authority =
            Authority::open(&folder, AuthorityConfig::default(), Sources::system()).await?;
        let mut steps = 0;
        authority
            .ceremony(&CeremonyPlan::example(), |step| {
                tell.progress(&format!("ceremony: {step}"));
                steps += 1;
                ControlFlow::Continue(())
            })
            .await?;
        tell.progress_done();
        let root = authority.authorities()?.root().clone();
        tell.saw(&format!(
            "ceremony of {steps} steps: root, three issuing CAs, policy key, operator"
        ));
        tell.saw(&format!("root {}", hex::write(&root.fingerprint()[..8])));
        let ready_file = data.join("serve.json");
        let arguments = [
            "serve",
            "--data",
            text(&folder)?,
            "--ready-file",
            text(&ready_file)?,
            "--mqtt",
            ":0",
            "--est",
            ":0",
            "--admin",
            ":0",
        ];
        let log = data.join("serve.log");
        let mut process = Process::start("authority and gateway", &log, keep, &arguments)?;
        let ready: Ready = process.ready(&ready_file, |_: &Ready| true).await?;
        tell.saw(&format!(
            "process {} serves mqtt {} · est {} · admin {}",
            process.id(),
            ready.mqtt,
            ready.est,
            ready.admin
        ));
        let roots = control::roots(&ready.roots)?;
        let (policy, certs) = (CompiledPolicy::built_in(), data.join("certs"));
        Ok(Self { authority, process, ready, policy, roots, certs })
    }

    /// Enrols somebody while the other process serves, and reads the files as any client would.
    pub(super) async fn enrol(&self, profile: EnrolProfile, name: &str) -> Ended<TlsIdentity> {
        let names = EnrolNames::One(name.to_owned());
        let request = EnrolRequest { profile, names, out: self.certs.clone(), force: false };
        let made = self.authority.enrol(&request, |_, _| {}).await?;
        let one = made.first().ok_or_else(|| Failure::found("nothing was enrolled"))?;
        identity(&one.certificate, &one.key)
    }
}

/// An identity from `NAME.crt` and `NAME.key`.
pub(super) fn identity(certificate: &Path, key: &Path) -> Ended<TlsIdentity> {
    let chain = CertificateChain::from_pem(&std::fs::read(certificate).at(certificate)?)?;
    let key = key_from_pem(&std::fs::read(key).at(key)?)?;
    Ok(TlsIdentity::new(chain, key)?)
}

/// A device that was made, and its process.
pub(super) struct Made {
    pub(super) thing: ThingId,
    pub(super) address: IpAddr,
    pub(super) baseline: Baseline,
    pub(super) label: Label,
    pub(super) process: Process,
    pub(super) status: Status,
    pub(super) folder: std::path::PathBuf,
}

pub(super) async fn make_device(
    platform: &mut Platform,
    data: &Path,
    keep: bool,
    tell: Teller,
) -> Ended<Made> {
    let thing: ThingId = "plug-000001".parse()?;
    let folder = data.join("factory").join(thing.as_str());
    let device = folder.join("device");
    let label = authority::make_device(&platform.authority, thing.clone(), &device).await?;
    let files = LabelFiles::write(&label, &folder)?;
    tell.saw(&format!("factory identity of {thing}; label in {}", files.svg.display()));
    // An address of its own on loopback, and what answers there already: that is not the device's.
    let address = own_address();
    let tcp = scan::baseline(&scan::tcp(address, |_| {}).await);
    let udp = scan::baseline(&scan::udp(address, |_| {}).await);
    let description = folder.join("plug.td.json");
    countersign_crypto::file::write_atomic(&description, PLUG.as_bytes(), 0o644)
        .at(&description)?;
    let ready_file = data.join("device.json");
    let ip = address.to_string();
    let arguments = [
        "device",
        "run",
        "--data",
        text(&device)?,
        "--thing",
        text(&description)?,
        "--simulate",
        "plug",
        "--address",
        &ip,
        "--ready-file",
        text(&ready_file)?,
    ];
    let log = data.join("device.log");
    let mut process = Process::start("device", &log, keep, &arguments)?;
    let status = Status::new(ready_file);
    status.reached(&mut process, |now| now.pairing.is_some()).await?;
    let now = status.read()?;
    tell.saw(&format!(
        "process {} is {thing} at {address}, {}; pairing interface on port {}",
        process.id(),
        now.state,
        now.pairing.map_or(0, |pairing| pairing.port())
    ));
    Ok(Made { thing, address, baseline: Baseline { tcp, udp }, label, process, status, folder })
}

/// An address in 127.0.0.0/8 that nobody is likely to use.
fn own_address() -> IpAddr {
    let random: &mut dyn Random = &mut SystemRandom;
    let [a, b, c] = random.array::<3>();
    IpAddr::V4(Ipv4Addr::new(127, 64 | (a & 0x3f), b, c | 2))
}

pub(super) fn text(path: &Path) -> Ended<&str> {
    path.to_str().ok_or_else(|| {
        Failure::environment(format!(
            "{}: the path is not UTF-8: name another --data",
            path.display()
        ))
    })
}
