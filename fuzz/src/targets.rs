//! Each target as a test: the seeds, what was kept of earlier runs (`__fuzz__`, crashing inputs among it), and some
//! random inputs. `make fuzz` runs the same tests under libFuzzer.

use std::path::PathBuf;

use bolero::check;

/// Random inputs of a plain test run; libFuzzer makes its own.
const RANDOM: usize = 200;

macro_rules! targets {
    ($($target:ident)*) => {
    $(
        #[test]
        fn $target() {
            if std::env::var_os("FUZZ_SEEDS_ARE_GIVEN").is_none() {
                for seed in crate::seeds(stringify!($target)) {
                    crate::$target(&seed);
                }
            }
            check!().with_iterations(RANDOM).for_each(|bytes: &[u8]| crate::$target(bytes));
        }
    )*

        const TARGETS: &[&str] = &[$(stringify!($target)),*];
    };
}

targets! { headers fabric tenant host agent codec model bgp_messages bgp_session }

/// Writes the seeds to a folder for `make fuzz`, one folder a target and one file an input, and tells the targets' names.
#[test]
fn there_are_seeds_for_every_target() {
    let folder = std::env::var_os("FUZZ_SEEDS_TO").map(PathBuf::from);
    for target in TARGETS {
        let seeds = crate::seeds(target);
        assert!(!seeds.is_empty(), "{target}");
        let Some(folder) = folder.as_ref().map(|folder| folder.join(target)) else { continue };
        std::fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
        println!("target: {target}");
    }
}
