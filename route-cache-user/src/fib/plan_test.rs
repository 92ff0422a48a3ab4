//! The mirror and its plans against a model of the data plane, driven by random events.
//!
//! The model takes a plan in the order in which `install` writes it, one write at a time, with packets in between:
//! each packet uses the clone of its destination if its generation and its next hop are current, else the longest match, of which it
//! makes a clone. Whatever the packets cloned on the way, once a plan is written every destination must go where the
//! kernel's tables, looked up naively, say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use route_cache_common::{
    Action, MacAddresses, NextHop, NextHopId, Outcome, Route, V4, V6,
    next_hop::NextHopVersion,
    route::{BUCKETS, RouteWords},
};

use super::{
    family::{IpFamily, NetFamily},
    groups::GroupOf,
    installed::InstalledRoute,
    message::{
        Event, GroupMember, Hop, Ifindex, KernelRoute, Link, Neighbour, Netconf, NextHopKind,
        NextHopObject, RouteInfo, RouteTarget, XDP_FEATURE_NDO_XMIT,
    },
    mirror::{Fib, Limits},
    plan::{Plan, RoutePlan},
    tables::Tables,
    verdict::{HopKey, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, Verdict, Way},
    why::{Code, Why},
};

/// Where a packet ends up: through a MAC address on an interface, or at the kernel.
type End = Result<(Ifindex, MacAddresses), ()>;

/// The IPv6 addresses of these tests are 2001:db8:: with an IPv4 address behind it.
const SCENE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);

/// An address of the scene.
fn address<F: NetFamily>(octets: [u8; 4]) -> IpAddr {
    match F::FAMILY {
        IpFamily::V4 => octets.into(),
        IpFamily::V6 => IpAddr::V6(Ipv6Addr::from_bits(
            SCENE6.to_bits() | u128::from(u32::from_be_bytes(octets)),
        )),
    }
}

/// A prefix of the scene.
fn net<F: NetFamily>(net: &str) -> IpNet {
    let net: Ipv4Net = net.parse().expect("a prefix");
    let len = match F::FAMILY {
        IpFamily::V4 => net.prefix_len(),
        IpFamily::V6 => 96 + net.prefix_len(),
    };
    IpNet::new(address::<F>(net.network().octets()), len).expect("a prefix")
}

fn octets<F: NetFamily>(address: IpAddr) -> F::Address {
    let net = F::net(IpNet::from(address)).expect("an address of this family");
    F::network(&net)
}

struct DataPlane<F: NetFamily> {
    routes: BTreeMap<F::Net, RouteWords>,
    generations: HashMap<u32, u32>,
    hops: HashMap<u32, NextHop>,
    neighbours: HashMap<F::OnLink, NextHopId>,
    buckets: HashMap<u32, NextHopId>,
    clones: HashMap<IpAddr, RouteWords>,
}

impl<F: NetFamily> Default for DataPlane<F> {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            generations: HashMap::new(),
            hops: HashMap::new(),
            neighbours: HashMap::new(),
            buckets: HashMap::new(),
            clones: HashMap::new(),
        }
    }
}

impl<F: NetFamily> DataPlane<F> {
    /// What the program does with a packet whose hash picks this bucket, without the parts that other tests hold.
    fn packet(&mut self, to: IpAddr, bucket: u32) -> End {
        let words = self.words(to)?;
        let id = match Route::unpack(words).action {
            Action::Group(group) => self.bucket(group, bucket),
            _ => NextHopId(words[0]),
        };
        let version = self.version(id).ok_or(())?;
        if version.flags & NextHopVersion::USABLE == 0 {
            return Err(());
        }
        self.clones.insert(to, words);
        Ok((version.ifindex, version.addresses))
    }

    /// What the program finds for a destination.
    fn words(&self, to: IpAddr) -> Result<RouteWords, ()> {
        let valid = |words: &RouteWords| {
            let is_group = matches!(Route::unpack(*words).action, Action::Group(_));
            self.is_current(*words) && (is_group || self.version(NextHopId(words[0])).is_some())
        };
        if let Some(words) = self.clones.get(&to).copied().filter(valid) {
            return Ok(words);
        }
        let covering = self.routes.iter().filter(|(net, _)| covers::<F>(net, to));
        let (_, words) = covering.max_by_key(|(net, _)| F::prefix_len(net)).ok_or(())?;
        match Route::unpack(*words).action {
            Action::Pass(_) => Err(()),
            Action::Via(id) => Ok(Route::resolved(*words, id)),
            Action::Group(_) => Ok(*words),
            Action::OnLink(ifindex) => {
                let on_link = F::on_link(ifindex, octets::<F>(to));
                Ok(Route::resolved(*words, *self.neighbours.get(&on_link).ok_or(())?))
            }
        }
    }

    fn bucket(&self, group: u32, bucket: u32) -> NextHopId {
        self.buckets.get(&(group * BUCKETS + bucket)).copied().unwrap_or(NextHopId(0))
    }

    /// Where the packets of all flows to a destination end, each way taken once.
    fn ends(&mut self, to: IpAddr) -> BTreeSet<End> {
        let group = match self.words(to).map(|words| Route::unpack(words).action) {
            Ok(Action::Group(group)) => Some(group),
            _ => None,
        };
        let by_id: BTreeMap<_, _> = match group {
            Some(group) => (0..BUCKETS).map(|at| (self.bucket(group, at), at)).collect(),
            None => BTreeMap::from([(NextHopId::NONE, 0)]),
        };
        by_id.into_values().map(|bucket| self.packet(to, bucket)).collect()
    }

    /// The version of a next hop that still has this id.
    fn version(&self, id: NextHopId) -> Option<NextHopVersion> {
        let hop = self.hops.get(&id.index())?;
        let version = hop.versions[(hop.current & 1) as usize];
        (version.id == id.0).then_some(version)
    }

    fn is_current(&self, words: RouteWords) -> bool {
        let route = Route::unpack(words);
        self.generations.get(&route.slot).copied().unwrap_or(0) == route.generation
    }

    /// Takes in a plan as `install` writes it, with `between` after every write.
    fn take(&mut self, plan: &Plan, mut between: impl FnMut(&mut Self)) {
        for (index, element) in &plan.hops {
            self.hops.insert(*index, *element);
            between(self);
        }
        for (bucket, id) in &plan.buckets {
            self.buckets.insert(*bucket, *id);
            between(self);
        }
        let RoutePlan { neighbours_added, neighbours_removed, routes, routes_removed } =
            F::plan(plan);
        for (key, id) in neighbours_added {
            self.neighbours.insert(*key, *id);
            between(self);
        }
        for key in neighbours_removed {
            self.neighbours.remove(key);
            between(self);
        }
        for (net, words) in routes {
            self.routes.insert(*net, *words);
            between(self);
        }
        for net in routes_removed {
            self.routes.remove(net);
            between(self);
        }
        for (slot, generation) in &plan.generations {
            self.generations.insert(*slot, *generation);
            between(self);
        }
    }
}

fn covers<F: NetFamily>(net: &F::Net, to: IpAddr) -> bool {
    let net: IpNet = (*net).into();
    net.contains(&to)
}

/// What the tables say, looked up without any of the mirror's own structures: where each flow may end, and each does.
fn naive<F: NetFamily>(fib: &Fib, to: IpAddr) -> BTreeSet<End> {
    let tables = &fib.tables;
    let nets = F::tables(tables).routes.nets();
    let covering = nets.filter(|net| covers::<F>(net, to) && tables.verdict::<F>(net).is_some());
    let verdict = covering.max_by_key(F::prefix_len).and_then(|best| tables.verdict::<F>(&best));
    let one = |end| BTreeSet::from([end]);
    let Some(verdict) = verdict else {
        return one(Err(()));
    };
    match verdict.way {
        Way::Pass(..) => one(Err(())),
        Way::OnLink(ifindex) => one(delivered(tables, ifindex, to)),
        Way::Via(key) => one(through(tables, key)),
        Way::Group(key) => {
            let members = match &key.of {
                GroupOf::Members(members) => members.iter().map(|member| member.key).collect(),
                GroupOf::Object(id) => match tables.objects.get(id).map(|object| &object.kind) {
                    Some(NextHopKind::Group(members)) => {
                        members.iter().map(|member| HopKey::Object(member.id)).collect()
                    }
                    _ => Vec::new(),
                },
            };
            let mut ends = BTreeSet::new();
            for member in members {
                match interface_of(tables, member) {
                    // Deleted, and its routes may be gone with it: its share is the kernel's.
                    Some(None) => ends.extend(one(Err(()))),
                    Some(Some(ifindex)) if !tables.links[&ifindex].is_up() => {}
                    Some(Some(_)) => ends.extend(one(through(tables, member))),
                    // Not one to be taken through XDP: then none is.
                    None => return one(Err(())),
                }
            }
            if ends.is_empty() { one(Err(())) } else { ends }
        }
    }
}

/// The interface of a group's member; nothing inside if it was deleted, nothing if it has no gateway or is no next hop.
fn interface_of(tables: &Tables, key: HopKey) -> Option<Option<Ifindex>> {
    match key {
        HopKey::Neighbour((ifindex, _)) => Some(Some(ifindex)),
        HopKey::Object(id) if tables.unsure_objects.contains(&id) => Some(None),
        HopKey::Object(id) => match tables.objects.get(&id)?.kind {
            NextHopKind::Hop(Hop { ifindex, gateway: Some(_), encap: false, .. }) => {
                Some(Some(ifindex))
            }
            _ => None,
        },
    }
}

/// Whether a route with an MTU leads by an object, or may lead by it, being by a group.
fn is_sized<F: NetFamily>(tables: &Tables, id: u32) -> bool {
    let routes = F::tables(tables).routes.iter().flat_map(|(_, all)| all);
    let sized = routes.filter(|route| route.mtu != 0);
    sized.into_iter().any(|route| {
        let RouteTarget::Object(object) = route.target else { return false };
        object == id
            || match tables.objects.get(&object).map(|object| &object.kind) {
                Some(NextHopKind::Group(members)) => members.iter().any(|member| member.id == id),
                Some(NextHopKind::OtherGroup) => true,
                _ => false,
            }
    })
}

fn through(tables: &Tables, key: HopKey) -> End {
    let (ifindex, address) = match key {
        HopKey::Neighbour(neighbour) => neighbour,
        // Its routes may be gone.
        HopKey::Object(id) if tables.unsure_objects.contains(&id) => return Err(()),
        HopKey::Object(id) if is_sized::<V4>(tables, id) || is_sized::<V6>(tables, id) => {
            return Err(());
        }
        HopKey::Object(id) => match tables.objects.get(&id).ok_or(())?.kind {
            NextHopKind::Hop(Hop { ifindex, gateway: Some(gateway), encap: false, .. }) => {
                (ifindex, gateway)
            }
            _ => return Err(()),
        },
    };
    delivered(tables, ifindex, address)
}

fn delivered(tables: &Tables, ifindex: Ifindex, address: IpAddr) -> End {
    // Its routes may be gone.
    if tables.unsure.contains(&ifindex) {
        return Err(());
    }
    let link = tables.links.get(&ifindex).filter(|link| link.is_running()).ok_or(())?;
    let neighbour = tables.neighbours.get(&(ifindex, address)).ok_or(())?;
    let (Some(mac), true) = (neighbour.lladdr, neighbour.state == REACHABLE) else {
        return Err(());
    };
    Ok((ifindex, MacAddresses::new(mac, link.mac.ok_or(())?)))
}

const REACHABLE: u16 = 2;
const FAILED: u16 = 0x20;
const UP: u32 = 1 | 1 << 16;

fn link(ifindex: Ifindex, flags: u32, mac: u8) -> Link {
    Link {
        ifindex,
        name: format!("eth{ifindex}"),
        hardware: 1,
        flags,
        mac: Some([2, 0, 0, 0, 9, mac]),
        mtu: 1500,
        kind: None,
        bus: Some("pci".into()),
        master: None,
        xdp_program: None,
        vlan: None,
        takes_from: None,
    }
}

/// Few enough that events meet each other: two interfaces, three hosts on each, prefixes inside each other.
fn destinations<F: NetFamily>() -> Vec<IpAddr> {
    let inside = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 1, 1], [10, 1, 0, 1], [11, 0, 0, 1]];
    let neighbours = [2, 3].into_iter().flat_map(|i| (1..=3).map(move |host| [192, 168, i, host]));
    inside.into_iter().chain(neighbours).map(address::<F>).collect()
}

fn prefix<F: NetFamily>() -> impl Strategy<Value = IpNet> {
    let nets = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.0.0.0/24",
        "10.0.0.0/31",
        "10.0.0.1/32",
        "10.0.0.2/32",
        "10.1.0.0/16",
        "192.168.2.0/24",
        "192.168.2.1/32",
        "192.168.3.0/24",
    ];
    prop::sample::select(nets.to_vec()).prop_map(net::<F>)
}

fn hop<F: NetFamily>() -> impl Strategy<Value = Hop> {
    let gateway = |ifindex: u32, host: u8| address::<F>([192, 168, ifindex as u8, host]);
    (2u32..=3, 0u8..=3, any::<bool>(), 1u32..=3).prop_map(move |(ifindex, host, encap, weight)| {
        Hop {
            ifindex,
            weight,
            gateway: (host > 0).then(|| gateway(ifindex, host)),
            encap: encap && host == 3,
            flags: 0,
        }
    })
}

fn route<F: NetFamily>() -> impl Strategy<Value = KernelRoute> {
    let target = prop_oneof![
        4 => hop::<F>().prop_map(RouteTarget::Hop),
        2 => (1u32..=3).prop_map(RouteTarget::Object),
        2 => prop::collection::vec(hop::<F>(), 2..4).prop_map(RouteTarget::Multipath),
    ];
    let table = prop_oneof![8 => Just(TABLE_MAIN), 1 => Just(TABLE_LOCAL), 1 => Just(TABLE_DEFAULT), 1 => Just(7)];
    let kind = prop_oneof![8 => Just(1u8), 1 => Just(2), 1 => Just(6), 1 => Just(9)];
    let tos = prop_oneof![9 => Just(0u8), 1 => Just(16)];
    let mtu = prop_oneof![15 => Just(0u32), 1 => Just(1400)];
    (prefix::<F>(), table, kind, 0u32..2, tos, mtu, target).prop_map(
        |(prefix, table, kind, metric, tos, mtu, target)| KernelRoute {
            prefix,
            info: RouteInfo { table, kind, tos, metric, mtu, ..info(target) },
        },
    )
}

/// A unicast route of main.
fn info(target: RouteTarget) -> RouteInfo {
    RouteInfo {
        table: TABLE_MAIN,
        kind: 1,
        tos: 0,
        protocol: 4,
        metric: 0,
        mtu: 0,
        limited: None,
        is_uneven: false,
        target,
    }
}

fn neighbour<F: NetFamily>() -> impl Strategy<Value = Neighbour> {
    (2u32..=3, 1u8..=3, prop::sample::select(vec![REACHABLE, FAILED]), 0u8..3).prop_map(
        |(ifindex, host, state, mac)| Neighbour {
            ifindex,
            address: address::<F>([192, 168, ifindex as u8, host]),
            state,
            lladdr: Some([2, 0, 0, 0, host, mac]),
        },
    )
}

fn event<F: NetFamily>() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        4 => hop::<F>().prop_map(NextHopKind::Hop),
        2 => prop::collection::vec((1u32..=3, 1u32..=3), 1..4).prop_map(|members| {
            let member = |(id, weight)| GroupMember { id, weight };
            NextHopKind::Group(members.into_iter().map(member).collect())
        }),
        1 => Just(NextHopKind::OtherGroup),
        1 => Just(NextHopKind::Blackhole),
    ];
    prop_oneof![
        6 => (route::<F>(), any::<bool>(), any::<bool>())
            .prop_map(|(route, replace, append)| Event::Route { route, replace, append }),
        3 => route::<F>().prop_map(Event::RouteGone),
        3 => neighbour::<F>().prop_map(Event::Neighbour),
        1 => neighbour::<F>().prop_map(|n| Event::NeighbourGone { ifindex: n.ifindex, address: n.address }),
        2 => (1u32..=3, kind).prop_map(|(id, kind)| Event::NextHopObject(NextHopObject { id, kind })),
        1 => (1u32..=3).prop_map(Event::NextHopObjectGone),
        1 => (2u32..=3, any::<bool>(), 0u8..2)
            .prop_map(|(ifindex, up, mac)| Event::Link(link(ifindex, if up { UP } else { 1 }, mac))),
    ]
}

/// One step of a script.
#[derive(Debug, Clone)]
enum Step {
    /// Events of one batch.
    Hear(Vec<Event>),
    /// A dump that finds some routes and neighbours gone that nobody told of.
    Resync(Vec<IpNet>),
}

fn step<F: NetFamily>() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(event::<F>(), 1..4).prop_map(Step::Hear),
        1 => prop::collection::vec(prefix::<F>(), 0..4).prop_map(Step::Resync),
    ]
}

fn begin<F: NetFamily>() -> Fib {
    // Six neighbours and three objects: indexes are used again.
    let mut fib = Fib::new(Limits { routes: 64, hops: 9, groups: 3, bypass: false });
    fib.replace(Tables::default());
    for ifindex in [2, 3] {
        fib.apply(Event::Link(link(ifindex, UP, 0)));
        fib.apply(Event::XdpFeatures { ifindex, features: XDP_FEATURE_NDO_XMIT });
        fib.apply(Event::Netconf(Netconf {
            family: F::FAMILY,
            ifindex: ifindex as i32,
            forwarding: Some(true),
            rp_filter: Some(0),
            ignores_linkdown: Some(false),
        }));
        let connected =
            RouteTarget::Hop(Hop { ifindex, gateway: None, encap: false, weight: 1, flags: 0 });
        let connected = KernelRoute {
            prefix: net::<F>(&format!("192.168.{ifindex}.0/24")),
            info: RouteInfo { protocol: 2, ..info(connected) },
        };
        fib.apply(Event::Route { route: connected, replace: false, append: false });
    }
    fib
}

/// The same tables, made anew as a dump makes them.
fn dumped<F: NetFamily>(tables: &Tables) -> Tables {
    let mut copy = Tables::default();
    copy.links.clone_from(&tables.links);
    copy.features.clone_from(&tables.features);
    copy.v4.netconf.clone_from(&tables.v4.netconf);
    copy.v6.netconf.clone_from(&tables.v6.netconf);
    copy.objects.clone_from(&tables.objects);
    copy.neighbours.clone_from(&tables.neighbours);
    for (net, all) in F::tables(tables).routes.iter() {
        for info in all {
            let route = KernelRoute { prefix: net.into(), info: info.clone() };
            let _doubt = copy.insert_route(route, false, true);
        }
    }
    copy
}

/// Whatever was cloned on the way, packets end where the tables say.
fn follows_the_tables<F: NetFamily>(
    steps: Vec<Step>,
    picks: &[prop::sample::Index],
) -> Result<(), TestCaseError> {
    let destinations = destinations::<F>();
    let mut fib = begin::<F>();
    let mut data_plane = DataPlane::<F>::default();
    let mut packets = picks.iter().cycle().map(|pick| destinations[pick.index(destinations.len())]);
    data_plane.take(&fib.plan(), |_| ());
    for step in steps {
        match step {
            Step::Hear(events) => {
                for event in events {
                    fib.apply(event);
                }
            }
            Step::Resync(gone) => {
                let mut tables = dumped::<F>(&fib.tables);
                for prefix in gone {
                    let net = F::net(prefix).expect("of this family");
                    for info in F::tables(&tables).routes.get(&net).to_vec() {
                        tables.apply(Event::RouteGone(KernelRoute { prefix, info }));
                    }
                }
                fib.replace(tables);
            }
        }
        let plan = fib.plan();
        data_plane.take(&plan, |data_plane| {
            for bucket in [0, BUCKETS - 1] {
                if let Some(to) = packets.next() {
                    let _anywhere = data_plane.packet(to, bucket);
                }
            }
        });
        if fib.reasons::<F>().iter().any(|reason| reason.sentence.contains("fit")) {
            // Out of room: the family stands aside as a whole.
            return Ok(());
        }
        for to in &destinations {
            let mut wanted = naive::<F>(&fib, *to);
            // A group that found no number is the kernel's.
            let net = fib_net::<F>(&fib, *to);
            let kept = net.and_then(|net| F::mirrored(&fib).installed.get(&net));
            if matches!(kept, Some(InstalledRoute { verdict: Verdict { way: Way::Pass(_, reason), .. }, .. })
                if reason.contains("groups than fit"))
            {
                wanted = BTreeSet::from([Err(())]);
            }
            prop_assert_eq!(&data_plane.ends(*to), &wanted, "to {}", to);
            // The second packet of a kind goes by the clone.
            prop_assert_eq!(&data_plane.ends(*to), &wanted, "to {}, cloned", to);
        }
    }
    Ok(())
}

fn fib_net<F: NetFamily>(fib: &Fib, to: IpAddr) -> Option<F::Net> {
    let nets = F::mirrored(fib).installed.nets().filter(|net| covers::<F>(net, to));
    nets.max_by_key(F::prefix_len)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_cloned_on_the_way_packets_end_where_the_tables_say(
        steps in prop::collection::vec(step::<V4>(), 1..25),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        follows_the_tables::<V4>(steps, &picks)?;
    }

    #[test]
    fn whatever_was_cloned_on_the_way_ipv6_packets_end_where_the_tables_say(
        steps in prop::collection::vec(step::<V6>(), 1..25),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        follows_the_tables::<V6>(steps, &picks)?;
    }
}

const GATEWAY: [u8; 4] = [192, 168, 2, 1];

/// A route by a gateway that answers.
fn by_gateway<F: NetFamily>(prefix: &str) -> KernelRoute {
    let hop =
        Hop { ifindex: 2, gateway: Some(address::<F>(GATEWAY)), encap: false, weight: 1, flags: 0 };
    KernelRoute { prefix: net::<F>(prefix), info: info(RouteTarget::Hop(hop)) }
}

fn add(route: KernelRoute) -> Event {
    Event::Route { route, replace: false, append: false }
}

fn gateway<F: NetFamily>(state: u16, mac: u8) -> Event {
    let (address, lladdr) = (address::<F>(GATEWAY), Some([2, 0, 0, 0, 1, mac]));
    Event::Neighbour(Neighbour { ifindex: 2, address, state, lladdr })
}

fn begin_with_gateway<F: NetFamily>() -> Fib {
    let mut fib = begin::<F>();
    fib.apply(gateway::<F>(REACHABLE, 1));
    fib
}

#[test]
fn s6_a_next_hop_that_is_nobodys_any_more_voids_the_flows_and_one_that_changes_does_not() {
    let mut fib = begin_with_gateway::<V4>();
    fib.plan();
    for (state, mac, voids) in [(REACHABLE, 2, false), (FAILED, 2, true)] {
        fib.apply(gateway::<V4>(state, mac));
        let plan = fib.plan();
        assert_eq!((plan.hops.len(), plan.voids_flows()), (1, voids));
    }
}

fn shares_an_object<F: NetFamily>() {
    const OBJECT: u32 = 1;
    let mut fib = begin_with_gateway::<F>();
    let RouteTarget::Hop(hop) = by_gateway::<F>("10.0.0.0/8").info.target else { unreachable!() };
    let object = NextHopObject { id: OBJECT, kind: NextHopKind::Hop(hop) };
    fib.apply(Event::NextHopObject(object));
    let by_object = |prefix, mtu| KernelRoute {
        prefix: net::<F>(prefix),
        info: RouteInfo { mtu, ..info(RouteTarget::Object(OBJECT)) },
    };
    fib.apply(add(by_object("10.1.0.0/16", 0)));
    let mut data_plane = DataPlane::<F>::default();
    let mut is_forwarded = |fib: &mut Fib| {
        data_plane.take(&fib.plan(), |_| ());
        data_plane.packet(address::<F>([10, 1, 0, 1]), 0).is_ok()
    };
    assert!(is_forwarded(&mut fib));
    let sized = by_object("10.2.0.0/16", 1400);
    fib.apply(add(sized.clone()));
    assert!(!is_forwarded(&mut fib));
    fib.apply(Event::RouteGone(sized.clone()));
    assert!(is_forwarded(&mut fib), "nothing with an MTU leads by the object any more");
    // By a group that the object is a member of.
    let members = vec![GroupMember { id: OBJECT, weight: 1 }];
    let group = NextHopObject { id: 2, kind: NextHopKind::Group(members) };
    fib.apply(Event::NextHopObject(group));
    let target = RouteTarget::Object(2);
    fib.apply(add(KernelRoute { info: RouteInfo { target, ..sized.info }, ..sized }));
    assert!(!is_forwarded(&mut fib));
}

#[test]
fn row_10_an_object_by_which_a_route_with_an_mtu_leads_passes() {
    shares_an_object::<V4>();
    shares_an_object::<V6>();
}

fn shadows<F: NetFamily>() {
    let mut fib = begin_with_gateway::<F>();
    fib.apply(add(by_gateway::<F>("10.0.0.0/8")));
    let mut data_plane = DataPlane::<F>::default();
    data_plane.take(&fib.plan(), |_| ());
    assert!(data_plane.packet(address::<F>([10, 0, 0, 1]), 0).is_ok());
    let mut blackhole = by_gateway::<F>("10.0.0.0/24");
    blackhole.info.kind = 6;
    let prefix = F::net(blackhole.prefix).expect("of this family");
    fib.apply(add(blackhole));
    data_plane.take(&fib.plan(), |_| ());
    assert_eq!(data_plane.packet(address::<F>([10, 0, 0, 1]), 0), Err(()));
    assert!(data_plane.packet(address::<F>([10, 0, 1, 1]), 0).is_ok());
    let verdict = fib.tables.verdict::<F>(&prefix);
    assert!(matches!(
        verdict.map(|v| v.way),
        Some(Way::Pass(Outcome::PassRoute, "a blackhole route"))
    ));
}

#[test]
fn row_23a_a_route_that_passes_shadows_the_less_specific_one() {
    shadows::<V4>();
    shadows::<V6>();
}

fn stands_aside_when_full<F: NetFamily>() {
    let mut fib = Fib::new(Limits { routes: 2, hops: 8, groups: 3, bypass: true });
    let route = |third: u8| KernelRoute {
        prefix: net::<F>(&format!("10.0.{third}.0/24")),
        info: RouteInfo { kind: 6, ..info(RouteTarget::None) },
    };
    let is_full = |reasons: Vec<Why>| reasons.iter().any(|why| why.code == Code::Full);
    fib.replace(Tables::default());
    for third in 0..3 {
        fib.apply(add(route(third)));
    }
    assert_eq!(F::plan(&fib.plan()).routes.len(), 2);
    assert!(is_full(fib.reasons::<F>()));
    let is_v4 = F::FAMILY == IpFamily::V4;
    assert!(!is_full(if is_v4 { fib.reasons::<V6>() } else { fib.reasons::<V4>() }));
    fib.apply(Event::RouteGone(route(0)));
    fib.apply(Event::RouteGone(route(1)));
    fib.apply(Event::RouteGone(route(2)));
    let _removals = fib.plan();
    assert!(fib.may_fit_now());
    fib.replace(Tables::default());
    assert!(!is_full(fib.reasons::<F>()));
}

#[test]
fn f6_routes_that_do_not_fit_make_their_family_stand_aside_and_recover() {
    stands_aside_when_full::<V4>();
    stands_aside_when_full::<V6>();
}

/// A data plane into which nothing of a plan went has everything after the next dump.
fn writes_again<F: NetFamily>(fail: fn(&mut Fib, IpFamily)) {
    let mut fib = begin_with_gateway::<F>();
    fib.apply(add(by_gateway::<F>("10.0.0.0/8")));
    fib.apply(add(by_gateway::<F>("10.0.0.0/24")));
    let _lost = fib.plan();
    fail(&mut fib, F::FAMILY);
    let tables = dumped::<F>(&fib.tables);
    fib.replace(tables);
    let again: BTreeSet<_> = F::plan(&fib.plan()).routes.iter().map(|(net, _)| *net).collect();
    for prefix in ["10.0.0.0/8", "10.0.0.0/24"] {
        let net = F::net(net::<F>(prefix)).expect("of this family");
        assert!(again.contains(&net), "{prefix} is not among {again:?}");
    }
    let tables = dumped::<F>(&fib.tables);
    fib.replace(tables);
    assert_eq!(F::plan(&fib.plan()).routes.len(), 0, "once is enough");
}

#[test]
fn f6_what_was_not_written_is_written_after_the_next_dump() {
    writes_again::<V4>(|fib, family| fib.set_full(family, "full"));
    writes_again::<V6>(|fib, family| fib.set_full(family, "full"));
    writes_again::<V4>(|fib, _| fib.set_unwritten());
    writes_again::<V6>(|fib, _| fib.set_unwritten());
}

fn follows_the_mtu<F: NetFamily>() {
    let mut fib = begin_with_gateway::<F>();
    let mut data_plane = DataPlane::<F>::default();
    data_plane.take(&fib.plan(), |_| ());
    let mtu =
        |data_plane: &DataPlane<F>| data_plane.version(NextHopId::new(0, 0)).expect("known").mtu;
    assert_eq!(mtu(&data_plane), 1500);
    fib.apply(Event::Link(Link { mtu: 1400, ..link(2, UP, 0) }));
    data_plane.take(&fib.plan(), |_| ());
    assert_eq!(mtu(&data_plane), 1400);
    let mut found = fib.interlocks.clone();
    found.mtu6.insert(2, 1350);
    fib.set_interlocks(found);
    data_plane.take(&fib.plan(), |_| ());
    assert_eq!(mtu(&data_plane), if F::FAMILY == IpFamily::V4 { 1400 } else { 1350 });
    let mut own = by_gateway::<F>("10.0.0.0/8");
    own.info.mtu = 1300;
    fib.apply(add(own));
    let plan = fib.plan();
    let mtus = F::plan(&plan).routes.iter().map(|(_, words)| Route::unpack(*words).mtu);
    assert_eq!(mtus.max(), Some(1300));
}

#[test]
fn s4_a_route_without_an_mtu_of_its_own_takes_its_interfaces_and_follows_it() {
    follows_the_mtu::<V4>();
    follows_the_mtu::<V6>();
}

#[test]
fn row_36_a_device_that_takes_frames_first_does_so_from_another_namespace_as_well() {
    let mut fib = begin::<V4>();
    let is_stacked =
        |fib: &Fib| fib.ingress(IpFamily::V4, 2).iter().any(|why| why.code == Code::Stacked);
    let upper = Link { kind: Some("ipvlan".into()), takes_from: Some(2), ..link(4, UP, 0) };
    fib.apply(Event::Link(upper.clone()));
    assert!(is_stacked(&fib));
    fib.apply(Event::LinkGone(4));
    assert!(!is_stacked(&fib));
    fib.apply(Event::Link(upper));
    fib.apply(Event::LinkMoved(4));
    assert!(!fib.tables.links.contains_key(&4) && is_stacked(&fib));
    let tables = dumped::<V4>(&fib.tables);
    fib.replace(tables);
    assert!(is_stacked(&fib), "no dump tells of it");
    fib.apply(Event::LinkGone(2));
    fib.apply(Event::Link(link(2, UP, 0)));
    assert!(!is_stacked(&fib), "another interface of that index");
}
