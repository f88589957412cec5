//! What is asked of tshark, once for the readers, the documentation and the tests.

/// What to name after `-e`, in this order: all that the readers of this edge ask for.
///
/// SIP is taken as the header text, because in the flat shape nobody can tell which parameter
/// belongs to which contact. Numbers of MAP are taken as their bytes: `e164.msisdn` would mix the
/// user's with those of the service centre, the VLR and the SGSN.
pub const FIELDS: &[&str] = &[
    "tcp.stream",
    "sip.Request-Line",
    "sip.Status-Line",
    "sip.msg_hdr",
    "mtp3.opc",
    "mtp3.dpc",
    "sccp.message_type",
    "sccp.calling.ssn",
    "sccp.called.ssn",
    "sccp.calling.digits",
    "tcap.otid",
    "tcap.dtid",
    "gsm_map.old.Component",
    "gsm_old.invokeID",
    "gsm_old.localValue",
    "e212.imsi",
    "gsm_map.ms.msisdn",
    "gsm_map.sm.msisdn",
    "gsm_map.ms.cancellationType",
    "gsm_map.sm.alertReason",
    "gsm_map.sm.alertReasonIndicator_element",
    "gsm_map.sm.additionalAlertReasonIndicator_element",
    "gsm_map.sm.maximumUeAvailabilityTime",
    "gsm_map.sm.sm_DeliveryOutcome",
    "gsm_map.sm.absentSubscriberDiagnosticSM",
    "gsm_map.er.absentSubscriberDiagnosticSM",
    "diameter.cmd.code",
    "diameter.flags.request",
    "diameter.hopbyhopid",
    "diameter.endtoendid",
    "diameter.Session-Id",
    "diameter.Origin-Host",
    "diameter.Result-Code",
    "diameter.Experimental-Result-Code",
    "diameter.User-Name",
    "diameter.MSISDN",
    "diameter.Public-Identity",
    "diameter.RAT-Type",
    "diameter.MME-Number-for-MT-SMS",
    "diameter.SMS-Register-Request",
    "diameter.Alert-Reason",
    "diameter.Cancellation-Type",
    "diameter.Absent-User-Diagnostic-SM",
    "diameter.Maximum-UE-Availability-Time",
    "diameter.Server-Assignment-Type",
    "diameter.Sh-User-Data",
    "gsup.msg_type",
    "gsup.cn_domain",
    "gsup.sm_alert_rsn",
    "gsup.session_id",
    "gsup.source_name.text",
    "e164.msisdn",
    "smpp.command_id",
    "smpp.command_status",
    "smpp.sequence_number",
    "smpp.source_addr_ton",
    "smpp.source_addr",
    "smpp.esm.submit.msg_type",
    "smpp.message_text",
    "smpp.receipted_message_id",
    "smpp.message_state",
    "smpp.ms_availability_status",
];

/// What to name after `-Y`: the packets that can matter. Of SIP only registrations: other headers
/// come with what people write to each other.
pub const DISPLAY_FILTER: &str =
    "sip.CSeq.method == \"REGISTER\" || gsm_map || diameter || gsup || smpp";

/// What to name after `-J` where packets carry several messages: layers stay apart then.
pub const LAYERS: &str = "tcp sip mtp3 m3ua sccp tcap gsm_map diameter gsup smpp";

/// The arguments after `tshark`, but for where the packets come from (`-i` or `-r`): the flat
/// shape.
pub fn tshark_arguments() -> impl Iterator<Item = &'static str> {
    let flat = FIELDS.iter().flat_map(|field| ["-e", field]);
    ["-n", "-l", "-Y", DISPLAY_FILTER, "-T", "ek"].into_iter().chain(flat)
}

/// The same for the layered shape, which keeps several messages of a packet apart.
pub fn tshark_arguments_layered() -> impl Iterator<Item = &'static str> {
    ["-n", "-l", "-Y", DISPLAY_FILTER, "-T", "ek", "-J", LAYERS].into_iter()
}
