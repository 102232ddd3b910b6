//! Devices: their folders, and what a kill and a reset leave of them.

use super::*;

/// A device with its real sealed state.
pub(super) struct Device {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) seal: SealKey,
    pub(super) factory: Vec<Certificate>,
    pub(super) anchors: Arc<Anchors>,
    pub(super) state: Arc<State>,
    pub(super) session: Option<u64>,
}

impl Device {
    pub(super) fn made(name: String, folder: PathBuf, factory: Vec<Certificate>) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let seal = SealKey::generate(&mut SystemRandom);
        let state = Self::state(&folder, &seal);
        let anchors = Anchors::open(state.clone(), factory.clone());
        Self { name, folder, seal, factory, anchors, state, session: None }
    }

    pub(super) fn state(folder: &Path, seal: &SealKey) -> Arc<State> {
        let random = Box::new(SystemRandom);
        Arc::new(State::open(&folder.join("state.sealed"), seal.clone(), random).unwrap())
    }

    /// What is in memory is gone.
    pub(super) fn killed(&mut self) {
        self.session = None;
        self.state = Self::state(&self.folder, &self.seal);
        self.anchors = Anchors::open(self.state.clone(), self.factory.clone());
    }

    pub(super) fn reset(&mut self) {
        let fresh = self.state.get().forgotten();
        self.seal = SealKey::generate(&mut SystemRandom);
        self.state.replace_for_good(fresh, self.seal.clone()).unwrap();
        self.killed();
    }

    pub(super) fn subject(&self) -> String {
        format!("thing:{}", self.name)
    }
}
