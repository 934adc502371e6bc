//! Which worker runs on which core.

use anyhow::{Result, bail};

/// The core of each worker. Without a wish the last available cores are taken, because the first ones carry most of the
/// machine's other work; with fewer cores than workers they are shared.
///
/// # Errors
/// A core asked for that this process may not use, or no usable core at all.
pub(crate) fn assign(
    workers: usize,
    wish: Option<&[usize]>,
    available: &[usize],
) -> Result<Vec<usize>> {
    let chosen: Vec<usize> = match wish {
        Some(cores) => {
            if let Some(core) = cores.iter().find(|core| !available.contains(core)) {
                bail!("--cores: core {core} is not available (available: {})", list(available));
            }
            cores.to_vec()
        }
        None => available.iter().rev().take(workers).rev().copied().collect(),
    };
    if chosen.is_empty() {
        bail!("no core is available to this process");
    }
    Ok(chosen.iter().cycle().take(workers).copied().collect())
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_last_cores() {
        assert_eq!(assign(2, None, &[0, 1, 2, 3]).unwrap(), [2, 3]);
    }

    #[test]
    fn workers_share_when_cores_are_few() {
        assert_eq!(assign(3, None, &[0, 1]).unwrap(), [0, 1, 0]);
        assert_eq!(assign(2, Some(&[1]), &[0, 1]).unwrap(), [1, 1]);
    }

    #[test]
    fn a_core_that_is_not_there_is_named() {
        let error = assign(1, Some(&[7]), &[0, 1]).unwrap_err().to_string();
        assert_eq!(error, "--cores: core 7 is not available (available: 0,1)");
    }
}
