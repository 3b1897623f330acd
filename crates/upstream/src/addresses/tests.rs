use rstest::rstest;

use super::*;
use crate::site::Site;

fn check(url: &str, policy: &AddressPolicy) -> Result<(), ForbiddenAddress> {
    let site = Site::of_url(url).unwrap();
    policy.check_scheme(&site)?;
    let address: IpAddr = match site.host() {
        url::Host::Ipv4(address) => (*address).into(),
        url::Host::Ipv6(address) => (*address).into(),
        url::Host::Domain(name) => panic!("{name} is not an address"),
    };
    policy.check(&[address], site.port())
}

fn non_public(address: &str) -> ForbiddenAddress {
    ForbiddenAddress::Network(NonPublicAddress(address.parse().unwrap()))
}

// The result of the check does not depend on the spelling of the address in the URL.
#[rstest]
#[case::this_host("https://0.0.0.0")]
#[case::this_host_short("https://0")]
#[case::this_network("https://0.1.2.3")]
#[case::private_10("https://10.0.0.1")]
#[case::private_10_last("https://10.255.255.255")]
#[case::shared("https://100.64.0.1")]
#[case::shared_last("https://100.127.255.255")]
#[case::loopback("https://127.0.0.1")]
#[case::loopback_other("https://127.255.0.3")]
#[case::loopback_short("https://127.1")]
#[case::loopback_decimal("https://2130706433")]
#[case::loopback_hexadecimal("https://0x7f000001")]
#[case::loopback_hexadecimal_parts("https://0x7f.0x0.0x0.0x1")]
#[case::loopback_octal("https://0177.0.0.1")]
#[case::loopback_full_width("https://１２７.0.0.1")]
#[case::loopback_trailing_dot("https://127.0.0.1.")]
#[case::link_local("https://169.254.0.1")]
#[case::metadata("https://169.254.169.254")]
#[case::metadata_decimal("https://2852039166")]
#[case::private_172("https://172.16.0.1")]
#[case::private_172_last("https://172.31.255.255")]
#[case::protocol_assignments("https://192.0.0.8")]
#[case::documentation_1("https://192.0.2.1")]
#[case::documentation_2("https://198.51.100.1")]
#[case::documentation_3("https://203.0.113.1")]
#[case::relay("https://192.88.99.1")]
#[case::private_192("https://192.168.1.1")]
#[case::benchmarking("https://198.18.0.1")]
#[case::benchmarking_last("https://198.19.255.255")]
#[case::multicast("https://224.0.0.1")]
#[case::reserved("https://240.0.0.1")]
#[case::broadcast("https://255.255.255.255")]
#[case::v6_unspecified("https://[::]")]
#[case::v6_loopback("https://[::1]")]
#[case::v6_loopback_long("https://[0:0:0:0:0:0:0:1]")]
#[case::v6_unique_local("https://[fc00::1]")]
#[case::v6_unique_local_random("https://[fdab::1]")]
#[case::v6_metadata("https://[fd00:ec2::254]")]
#[case::v6_link_local("https://[fe80::1]")]
#[case::v6_site_local("https://[fec0::1]")]
#[case::v6_multicast("https://[ff02::1]")]
#[case::v6_documentation("https://[2001:db8::1]")]
#[case::v6_documentation_2("https://[3fff::1]")]
#[case::v6_benchmarking("https://[2001:2::1]")]
#[case::v6_orchid("https://[2001:20::1]")]
#[case::v6_discard("https://[100::1]")]
#[case::v6_segment_routing("https://[5f00::1]")]
#[case::v6_mapped_loopback("https://[::ffff:127.0.0.1]")]
#[case::v6_mapped_hexadecimal("https://[::ffff:a00:1]")]
#[case::v6_mapped_metadata("https://[::ffff:169.254.169.254]")]
#[case::v6_compatible("https://[::127.0.0.1]")]
#[case::v6_compatible_public("https://[::8.8.8.8]")]
#[case::v6_translated("https://[::ffff:0:127.0.0.1]")]
#[case::v6_nat64_private("https://[64:ff9b::10.0.0.1]")]
#[case::v6_nat64_loopback("https://[64:ff9b::7f00:1]")]
#[case::v6_nat64_local("https://[64:ff9b:1::8.8.8.8]")]
#[case::v6_6to4_private("https://[2002:a00:1::1]")]
#[case::v6_6to4_metadata("https://[2002:a9fe:a9fe::1]")]
#[case::v6_teredo_server("https://[2001:0:7f00:1::f7f7:f7f7]")]
#[case::v6_teredo_client("https://[2001:0:808:808::80ff:fffe]")]
fn address_that_is_not_public_is_forbidden(#[case] url: &str) {
    let policy = AddressPolicy::default();
    let error = check(url, &policy).unwrap_err();
    assert!(matches!(error, ForbiddenAddress::Network(_)), "{url}");
}

#[rstest]
#[case::v4("https://8.8.8.8")]
#[case::v4_before_private("https://9.255.255.255")]
#[case::v4_after_private("https://11.0.0.0")]
#[case::v4_before_shared("https://100.63.255.255")]
#[case::v4_after_shared("https://100.128.0.0")]
#[case::v4_after_private_172("https://172.32.0.0")]
#[case::v4_beside_assignments("https://192.0.1.1")]
#[case::v4_last("https://223.255.255.255")]
#[case::v6("https://[2606:4700::1111]")]
#[case::v6_mapped("https://[::ffff:8.8.8.8]")]
#[case::v6_nat64("https://[64:ff9b::8.8.8.8]")]
#[case::v6_6to4("https://[2002:808:808::1]")]
#[case::v6_teredo("https://[2001:0:808:808::f7f7:f7f7]")]
fn public_address_is_allowed(#[case] url: &str) {
    assert_eq!(check(url, &AddressPolicy::default()), Ok(()), "{url}");
}

#[rstest]
#[case::https(false, "https://8.8.8.8", Ok(()))]
#[case::http(false, "http://8.8.8.8", Err(ForbiddenAddress::Http))]
#[case::http_allowed(true, "http://8.8.8.8", Ok(()))]
#[case::another_port(false, "https://8.8.8.8:8443", Err(ForbiddenAddress::Port))]
#[case::mail(true, "http://8.8.8.8:25", Err(ForbiddenAddress::Port))]
#[case::port_80_of_https(false, "https://8.8.8.8:80", Err(ForbiddenAddress::Port))]
#[case::allowed_network(false, "https://10.1.2.3", Ok(()))]
#[case::allowed_network_at_every_port(false, "https://10.1.2.3:8443", Ok(()))]
#[case::beside_the_allowed_network(false, "https://10.2.0.1", Err(non_public("10.2.0.1")))]
#[case::allowed_network_mapped(false, "https://[::ffff:10.1.2.3]:8443", Ok(()))]
#[case::allowed_network_by_nat64(false, "https://[64:ff9b::10.1.2.3]", Ok(()))]
#[case::allowed_network_over_http(false, "http://10.1.2.3", Err(ForbiddenAddress::Http))]
fn other_ports_and_non_public_addresses_are_allowed_only_in_allowed_networks(
    #[case] allows_http: bool,
    #[case] url: &str,
    #[case] expected: Result<(), ForbiddenAddress>,
) {
    let policy = AddressPolicy::default()
        .allow_http(allows_http)
        .allow_networks("10.1.0.0/16".parse().unwrap());
    assert_eq!(check(url, &policy), expected);
}

#[rstest]
#[case("")]
#[case("10.0.0.0/8")]
#[case("10.0.0.1, ::1")]
#[case("::/0")]
fn networks_and_single_addresses_are_parsed_as_allowed_networks(#[case] text: &str) {
    assert!(text.parse::<AllowedNetworks>().is_ok());
}

#[rstest]
#[case("10.0.0.0/33")]
#[case("golf.example")]
#[case("10.0.0.1 10.0.0.2")]
#[case::matches_no_address("::ffff:0:0/64")]
fn text_that_is_not_a_list_of_networks_is_rejected(#[case] text: &str) {
    assert_eq!(text.parse::<AllowedNetworks>(), Err(InvalidNetwork));
}

#[rstest]
#[case("::ffff:10.0.0.0/104")]
#[case("::ffff:10.0.0.1")]
fn allowed_network_of_ipv4_mapped_addresses_allows_ipv4_addresses(#[case] network: &str) {
    let policy = AddressPolicy::default().allow_networks(network.parse().unwrap());
    assert_eq!(check("https://10.0.0.1", &policy), Ok(()));
    assert_eq!(
        check("https://192.168.0.1", &policy),
        Err(non_public("192.168.0.1"))
    );
}

#[test]
fn host_name_with_one_forbidden_address_is_forbidden() {
    let policy = AddressPolicy::default();
    let public: IpAddr = "8.8.8.8".parse().unwrap();
    let private: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(policy.check(&[public], 443), Ok(()));
    let mixed = policy.check(&[public, private], 443);
    assert_eq!(mixed, Err(non_public("10.0.0.1")));
}
