//! Where the figures of a report come from: the command and the machine.
//!
//! **Owns** the facts about this process and this machine that figures depend on. **Must never
//! touch** a run. **Invariant**: nothing here identifies the machine or its user, apart from what
//! the command line itself says.

use super::schema::MachineReport;
use crate::net::system;

/// The command line of this process. The program is called helloop, wherever its file is.
pub(super) fn command() -> Vec<String> {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    ["helloop".to_owned()]
        .into_iter()
        .chain(arguments)
        .collect()
}

/// This machine.
pub(super) fn machine() -> MachineReport {
    let cpus = std::thread::available_parallelism();
    let mut machine = MachineReport {
        architecture: std::env::consts::ARCH.to_owned(),
        system: std::env::consts::OS.to_owned(),
        cpu_model: system::cpu_model(),
        cpus: cpus.ok().map(Into::into),
        ..MachineReport::default()
    };
    if let Some((name, release)) = system::kernel() {
        machine.system = name;
        machine.kernel = release;
    }
    machine
}
