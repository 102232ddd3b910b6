//! One assessment: what is given, which probes run, and the bundle that comes out.

use crate::algorithms::Profile;
use crate::bundle::{Bundle, FORMAT};
use crate::evidence::{Evidence, Facts, ScanFacts, TransportScan};
use crate::probe::access::{Credential, Setting, SubjectError, Subjects, attempt, command};
use crate::probe::canary::{Canary, Capture, search};
use crate::probe::{scan, tls};
use crate::registry::{Probe, TEST_CASES};
use crate::report::Report;
use crate::statement::{KnownAssessors, SignedStatement};
use countersign_model::ixit::{Declaration, Listener, Problems, Transport};
use countersign_model::time::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Ports of the target that were open, or unclear, before the device was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    /// TCP.
    pub tcp: BTreeSet<u16>,
    /// UDP.
    pub udp: BTreeSet<u16>,
}

/// Everything that an assessment is given. Nothing is read from anywhere else, the clock included.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// What is declared.
    pub declaration: Declaration,
    /// The device's address.
    pub target: IpAddr,
    /// Credentials of the home, of different roles.
    pub credentials: Vec<Credential>,
    /// Trust anchors for the device's certificates, PEM; empty: paths are not looked for.
    pub roots_pem: String,
    /// Ports that are not the device's.
    pub baseline: Option<Baseline>,
    /// Recorded traffic.
    pub captures: Vec<Capture>,
    /// Secrets to search for in it.
    pub canaries: Vec<Canary>,
    /// Facts that were gathered before, in another state of the same device: for example [`tls::examine`] of
    /// the pairing interface while it was open. They count like those of this run.
    pub earlier: Vec<Facts>,
    /// Human judgements.
    pub statements: Vec<SignedStatement>,
    /// Whose judgements count.
    pub assessors: KnownAssessors,
    /// The catalogues that count.
    pub profile: Profile,
    /// Right credentials may write and invoke.
    pub allow_commands: bool,
    /// UDP ports are tried too. Complete on loopback; over a network mostly unclear.
    pub scan_udp: bool,
    /// The time of the assessment.
    pub clock: Timestamp,
}

impl Assessment {
    /// An assessment with nothing but a declaration, a target and a time; set the rest as needed.
    #[must_use]
    pub const fn new(declaration: Declaration, target: IpAddr, clock: Timestamp) -> Self {
        Self {
            declaration,
            target,
            credentials: Vec::new(),
            roots_pem: String::new(),
            baseline: None,
            captures: Vec::new(),
            canaries: Vec::new(),
            earlier: Vec::new(),
            statements: Vec::new(),
            assessors: BTreeMap::new(),
            profile: Profile::Acm,
            allow_commands: false,
            scan_udp: true,
            clock,
        }
    }
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The probe.
    pub probe: Probe,
    /// What it is at.
    pub subject: String,
    /// Steps done.
    pub done: u32,
    /// Steps in all.
    pub total: u32,
}

/// Why there is no report: always something about what was given, never about the device.
#[derive(Debug, thiserror::Error)]
pub enum AssessError {
    /// The declaration contradicts itself.
    #[error("the declaration contradicts itself:\n{0}")]
    Declaration(#[from] Problems),
    /// A credential cannot be used.
    #[error(transparent)]
    Credential(#[from] SubjectError),
    /// The roots are no certificates.
    #[error("the roots are no PEM certificates: {0}")]
    Roots(String),
}

/// Runs every probe that some check needs, and judges.
///
/// # Errors
/// [`AssessError`], before anything is sent to the device.
pub async fn run(
    assessment: Assessment,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<Report, AssessError> {
    let bundle = collect(assessment, progress).await?;
    Ok(Report::of(&bundle))
}

/// Runs every probe that some check needs, and judges nothing.
///
/// # Errors
/// As [`run`].
pub async fn collect(
    assessment: Assessment,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<Bundle, AssessError> {
    assessment.declaration.check().map_err(Problems)?;
    let roots: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(assessment.roots_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| AssessError::Roots(error.to_string()))?;
    let subjects = Subjects::prepare(&assessment.credentials)?;
    let mut run = Run {
        assessment: &assessment,
        roots,
        subjects,
        progress: &progress,
        evidence: vec![],
        not_run: vec![],
    };
    for facts in &assessment.earlier {
        run.evidence.push(Evidence::new(
            run.evidence.len(),
            "earlier",
            &subject_of(facts),
            facts.clone(),
        ));
    }
    for probe in plan() {
        match probe {
            Probe::TlsServer => run.tls_servers().await,
            Probe::Access => run.access().await,
            Probe::Ports => run.ports().await,
            Probe::Canaries => run.canaries(),
        }
    }
    let (evidence, not_run) = (run.evidence, run.not_run);
    Ok(Bundle {
        format: FORMAT.into(),
        made_by: format!("countersign-assessor {}", env!("CARGO_PKG_VERSION")),
        at: assessment.clock,
        target: assessment.target,
        profile: assessment.profile,
        credentials: assessment
            .credentials
            .iter()
            .map(|known| (known.label.clone(), known.role))
            .collect(),
        statements: assessment.statements,
        assessors: assessment.assessors,
        declaration: assessment.declaration,
        not_run,
        evidence,
        sha256: String::new(),
    }
    .seal())
}

fn subject_of(facts: &Facts) -> String {
    match facts {
        Facts::TlsServer(tls) => tls.listener.to_string(),
        Facts::Access(access) => format!("{} {}", access.method.as_str(), access.path),
        Facts::PortScan(scan) => scan.target.to_string(),
        Facts::CanarySearch(search) => search.capture.clone(),
    }
}

/// The probes that the registry's cases need, each once. The scan comes last: it is the rudest.
fn plan() -> Vec<Probe> {
    let needed: BTreeSet<Probe> = TEST_CASES.iter().flat_map(|case| case.probes).copied().collect();
    [Probe::TlsServer, Probe::Access, Probe::Canaries, Probe::Ports]
        .into_iter()
        .filter(|probe| needed.contains(probe))
        .collect()
}

struct Run<'a> {
    assessment: &'a Assessment,
    roots: Vec<CertificateDer<'static>>,
    subjects: Subjects,
    progress: &'a (dyn Fn(Progress) + Sync),
    evidence: Vec<Evidence>,
    not_run: Vec<String>,
}

impl Run<'_> {
    fn record(&mut self, probe: Probe, subject: &str, facts: Facts) {
        self.evidence.push(Evidence::new(self.evidence.len(), probe.as_str(), subject, facts));
    }

    fn tell(&self, probe: Probe, subject: &str, done: usize, total: usize) {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        (self.progress)(Progress {
            probe,
            subject: subject.to_owned(),
            done: number(done),
            total: number(total),
        });
    }

    fn address(&self, listener: &Listener) -> SocketAddr {
        let only = listener.address.filter(|address| !address.is_unspecified());
        SocketAddr::new(only.unwrap_or(self.assessment.target), listener.port)
    }

    //= specs/house.md#house-assessor
    //# A check that did not run MUST be reported as not run, with its reason.
    /// Why a listener cannot be probed now.
    fn obstacle(&self, listener: &Listener) -> Option<String> {
        let state = self.assessment.declaration.dut.state;
        if !listener.states.contains(&state) {
            return Some(format!("{}: not open when {state}", listener.id));
        }
        if listener.transport != Transport::Tcp {
            return Some(format!("{}: no probe for UDP protocols", listener.id));
        }
        None
    }

    async fn tls_servers(&mut self) {
        let rows = &self.assessment.declaration.listeners;
        for (index, listener) in rows.iter().enumerate() {
            self.tell(Probe::TlsServer, listener.id.as_str(), index, rows.len());
            if let Some(why) = self.obstacle(listener) {
                self.not_run.push(format!("tls-server {why}"));
            } else if listener.protocol.is_tls() {
                let facts = tls::examine(
                    self.address(listener),
                    listener,
                    &self.roots,
                    self.assessment.clock,
                )
                .await;
                self.record(Probe::TlsServer, listener.id.as_str(), Facts::TlsServer(facts));
            }
        }
        self.tell(Probe::TlsServer, "", rows.len(), rows.len());
    }

    async fn access(&mut self) {
        let assessment = self.assessment;
        let rows = &assessment.declaration.affordances;
        let roots = self.roots.clone();
        let mut tried = Vec::new();
        for (index, affordance) in rows.iter().enumerate() {
            self.tell(Probe::Access, &affordance.name, index, rows.len());
            let Some(listener) = assessment.declaration.listener(&affordance.listener) else {
                continue;
            };
            if !affordance.states.contains(&assessment.declaration.dut.state) {
                self.not_run.push(format!(
                    "access {}: not served in the state of the device",
                    affordance.name
                ));
                continue;
            }
            if let Some(why) = self.obstacle(listener) {
                self.not_run.push(format!("access {}: {why}", affordance.name));
                continue;
            }
            let setting = Setting {
                address: self.address(listener),
                listener,
                roots: &roots,
                at: assessment.clock,
                allow_commands: assessment.allow_commands,
            };
            let facts = attempt(&setting, affordance, &self.subjects).await;
            tried.push((affordance, setting, facts));
        }
        // Commands come last: one of them may change who is refused.
        for (affordance, setting, facts) in &mut tried {
            command(setting, affordance, &self.subjects, facts).await;
        }
        let seen: Vec<_> = tried.into_iter().map(|(_, _, facts)| Facts::Access(facts)).collect();
        for facts in seen {
            self.record(Probe::Access, &subject_of(&facts), facts);
        }
        self.tell(Probe::Access, "", rows.len(), rows.len());
    }

    async fn ports(&mut self) {
        let assessment = self.assessment;
        let baseline = assessment.baseline.as_ref();
        let mut transports: BTreeMap<Transport, TransportScan> = BTreeMap::new();
        let total = if assessment.scan_udp { 2 * 65_535 } else { 65_535 };
        let mut tcp = scan::tcp(assessment.target, |done| {
            self.tell(Probe::Ports, "TCP", done as usize, total)
        })
        .await;
        tcp.baseline = baseline.map(|known| known.tcp.clone());
        transports.insert(Transport::Tcp, tcp);
        if assessment.scan_udp {
            let told = |done| self.tell(Probe::Ports, "UDP", 65_535 + done as usize, total);
            let mut udp = scan::udp(assessment.target, told).await;
            udp.baseline = baseline.map(|known| known.udp.clone());
            transports.insert(Transport::Udp, udp);
        } else {
            self.not_run.push("ports: UDP was switched off".into());
        }
        let facts = ScanFacts {
            target: assessment.target,
            state: assessment.declaration.dut.state,
            transports,
        };
        self.record(Probe::Ports, &assessment.target.to_string(), Facts::PortScan(facts));
    }

    fn canaries(&mut self) {
        let assessment = self.assessment;
        for (index, capture) in assessment.captures.iter().enumerate() {
            self.tell(Probe::Canaries, &capture.label, index, assessment.captures.len());
            let facts = search(capture, &assessment.canaries);
            self.record(Probe::Canaries, &capture.label, Facts::CanarySearch(facts));
        }
        if assessment.captures.is_empty() || assessment.canaries.is_empty() {
            self.not_run.push("canaries: no capture or no canary was given".into());
        }
    }
}
