//! Python's numbers and texts as the engine wants them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// An address literal and a port, as the engine wants it.
pub fn socket_address((host, port): &(String, u16)) -> PyResult<SocketAddr> {
    let ip = host
        .parse::<IpAddr>()
        .map_err(|_| PyValueError::new_err(format!("{host:?} is not an address")))?;
    Ok(SocketAddr::new(ip, *port))
}

/// Seconds as a duration; what is not a sane number of them becomes a year.
pub fn seconds(seconds: f64) -> Duration {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(YEAR)
        .min(YEAR)
}
