//! Runs targets on stable: the committed corpus, then mutations of it.
//!
//! `replay` runs all, `replay label 100000` one of them with that many mutations of each seed.

use countersign_fuzz::mutate::{Dice, mutate};
use countersign_fuzz::targets::{ALL, SLOW, Target, find};
use std::path::Path;
use std::process::ExitCode;

const MUTATIONS: u64 = 2_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Vec<Target> = match arguments.first() {
        None => ALL.to_vec(),
        Some(name) => match find(name) {
            Some(target) => vec![target],
            None => {
                eprintln!("replay: no target {name}; there are:");
                ALL.iter().for_each(|(name, _)| eprintln!("  {name}"));
                return ExitCode::from(2);
            }
        },
    };
    let mutations = match arguments.get(1).map(|count| count.parse()) {
        None => MUTATIONS,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            eprintln!("replay: the second argument is the number of mutations of each seed");
            return ExitCode::from(2);
        }
    };
    for (name, target) in chosen {
        let mutations = if SLOW.contains(&name) { mutations / 20 } else { mutations };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let seeds = match seeds(&folder) {
            Ok(seeds) => seeds,
            Err(cause) => {
                eprintln!("replay: {}: {cause}", folder.display());
                return ExitCode::from(2);
            }
        };
        for (at, seed) in seeds.iter().enumerate() {
            target(seed);
            let other = &seeds[(at + 1) % seeds.len()];
            for throw in 0..mutations {
                let input = mutate(seed, other, &mut Dice::new(throw ^ ((at as u64) << 32)));
                // A target that panics leaves its input here.
                let outcome = std::panic::catch_unwind(|| target(&input));
                if outcome.is_err() {
                    let kept = folder.with_file_name(format!("crash-{name}-{at}-{throw}"));
                    let _ = std::fs::write(&kept, &input);
                    eprintln!("replay: {name} failed; input kept as {}", kept.display());
                    return ExitCode::from(1);
                }
            }
        }
        println!("{name}: {} seeds, {mutations} mutations of each", seeds.len());
    }
    ExitCode::SUCCESS
}

fn seeds(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}
