//! Each target as a test: the seeds, what was kept of earlier runs (`__fuzz__`, crashing inputs among it), and some
//! random inputs. `make fuzz` runs the same tests under libFuzzer.

use bolero::check;

/// Random inputs of a plain test run; libFuzzer makes its own.
const RANDOM: usize = 200;

macro_rules! targets {
    ($($target:ident)*) => {
    $(
        #[test]
        fn $target() {
            if std::env::var_os("FUZZ_SEEDS_ARE_GIVEN").is_none() {
                for seed in fuzz::seeds(stringify!($target)) {
                    fuzz::$target(&seed);
                }
            }
            check!().with_iterations(RANDOM).for_each(|bytes: &[u8]| fuzz::$target(bytes));
        }
    )*

        #[test]
        fn every_target_is_named_for_its_seeds() {
            assert_eq!(fuzz::TARGETS, [$(stringify!($target)),*]);
        }
    };
}

targets! { headers fabric tenant host agent codec model bgp_messages bgp_session }
