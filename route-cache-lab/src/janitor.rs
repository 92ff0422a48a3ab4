//! A process that removes this one's namespaces and sockets when this one dies without having done so.
//!
//! `Drop` sees to success, failure and panic. Ctrl-C ends a test without any `Drop`, and so does SIGKILL; the janitor
//! stands in a process group of its own, out of reach of Ctrl-C, and waits for the end of a pipe that this process holds. It ends
//! what still runs in the namespaces, too: a program that changes its user does not die with its parent.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{self, Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};

/// `read` returns when the other end of the pipe closes, which only the death of its owner does.
const SCRIPT: &str = r#"read -r _
for n in /run/netns/rc-"$1"-*; do
  [ -e "$n" ] || continue
  ip netns pids "${n##*/}" | xargs -r kill -9
  ip netns delete "${n##*/}"
done
rm -rf "$2/route-cache-lab-$1-"*"#;

/// Held until this process ends: dropping it would close the pipe.
static JANITOR: Mutex<Option<Child>> = Mutex::new(None);

/// Starts the janitor if there is none yet.
pub(crate) fn engage() -> Result<()> {
    let mut janitor = JANITOR.lock().unwrap_or_else(PoisonError::into_inner);
    if janitor.is_none() {
        let started = Command::new("sh")
            .args(["-c", SCRIPT, "route-cache-lab-janitor", &process::id().to_string()])
            .arg(env::temp_dir())
            .stdin(Stdio::piped())
            // Not inherited: whoever waits for the end of our output must not wait for the janitor.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start `sh`, which is to clean up should this process be killed")?;
        *janitor = Some(started);
    }
    Ok(())
}
