//! The packet road alone, for measuring: `packets 10.9.1.2:1080 [threads]` is a SOCKS5 server that knows
//! UDP ASSOCIATE without authentication, everything direct, judged by nobody.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use byway_engine::datagrams::{Asks, Far, PacketListener, PacketOptions, Socks5};
use byway_engine::dial::DialOptions;
use byway_engine::reactor::Reactors;
use byway_engine::relay::Gauge;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args.next().ok_or("which address?")?.parse()?;
    let threads = args.next().map_or(Ok(2), |count| count.parse())?;
    let reactors = Arc::new(Reactors::start(threads)?);
    let listener = TcpListener::bind(address)?;
    for control in listener.incoming() {
        let (control, reactors) = (control?, Arc::clone(&reactors));
        std::thread::spawn(move || {
            if let Err(error) = associate(control, address.ip(), &reactors) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn associate(
    mut control: TcpStream,
    ip: IpAddr,
    reactors: &Reactors,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut greeting = [0; 2];
    control.read_exact(&mut greeting)?;
    control.read_exact(&mut vec![0; greeting[1].into()])?;
    control.write_all(&[5, 0])?;
    control.read_exact(&mut [0; 10])?;

    let (sender, signal) = channel();
    let asks = Asks::new(move || _ = sender.send(()));
    let options = PacketOptions {
        only: Some((control.peer_addr()?.ip(), 0).into()),
        ..PacketOptions::default()
    };
    let packets = PacketListener::bind(
        (ip, 0).into(),
        Box::new(Socks5),
        &options,
        reactors,
        Arc::clone(&asks),
    )?;
    let mut reply = vec![5, 0, 0, 1];
    let IpAddr::V4(bound) = packets.address.ip() else {
        return Err("IPv4 only".into());
    };
    reply.extend_from_slice(&bound.octets());
    reply.extend_from_slice(&packets.address.port().to_be_bytes());
    control.write_all(&reply)?;

    let far = Far::direct(DialOptions::default());
    control.set_read_timeout(Some(Duration::from_millis(50)))?;
    loop {
        while signal.try_recv().is_ok() {
            for ask in asks.take() {
                let located = ask.target.clone();
                ask.relay(
                    &far,
                    located,
                    Arc::new(Gauge::default()),
                    Box::new(|end| eprintln!("{end:?}")),
                );
            }
        }
        match control.read(&mut [0; 16]) {
            Ok(0) => break,
            Err(error)
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                break;
            }
            _ => {}
        }
    }
    eprintln!("{:?}", packets.stats());
    Ok(())
}
