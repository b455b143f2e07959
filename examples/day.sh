#!/usr/bin/env bash
# A practice software's day against Habilis, with curl: feed, find, read, mask, emergency; JSON in, XML out where it is shown.
#
#   cargo run --release -- sandbox      # in one terminal
#   examples/day.sh                     # in another
#
# HABILIS_BASE, HABILIS_CERTS and HABILIS_DATA say where the server, its cards and its example bodies are.
set -euo pipefail
base=${HABILIS_BASE:-https://localhost:8443/fhir}
certs=${HABILIS_CERTS:-certs/sandbox}
examples=${HABILIS_DATA:-data}/examples
patient='urn:oid:1.2.250.1.213.1.4.10|279035121518989'
as() { curl -sS --fail-with-body --cacert "$certs/ca.pem" --cert "$certs/$1.pem" --key "$certs/$1.key" "${@:2}"; }
json='Content-Type: application/fhir+json'

echo "record: $(as cps-medecin -G "$base/Patient" --data-urlencode "identifier=$patient" | grep -o '"active":[a-z]*')"
as cps-medecin -H "$json" --data-binary "@$examples/alimentation.json" "$base" -o /dev/null
echo "fed, and fed again: $(as cps-medecin -H "$json" --data-binary "@$examples/alimentation.json" "$base" | grep -o '"status":"[^"]*"' | sort | uniq -c | tr -s ' ')"
for doctor in cps-medecin cps-medecin-b; do
    as "$doctor" -H "$json" --data-binary "@$examples/autorisation.json" "$base/Consent" -o /dev/null
done
search=(-G "$base/DocumentReference" --data-urlencode "patient.identifier=$patient" --data-urlencode 'status=current')
found=$(as cps-medecin-b "${search[@]}" -H 'Accept: application/fhir+xml')
echo "found, in XML: $(grep -o '<total value="[0-9]*"/>' <<<"$found")"
url=$(grep -o "$base/Binary/[^\"]*" <<<"$found" | head -n 1)
echo "read: $(as cps-medecin-b "$url" | grep -c '<ClinicalDocument')"
id=$(grep -o "$base/DocumentReference/[^\"?]*" <<<"$found" | head -n 1)
as cps-medecin -X PATCH -H 'Content-Type: application/xml-patch+xml' "$id" -o /dev/null --data \
    '<diff xmlns:f="http://hl7.org/fhir"><add sel="f:DocumentReference"><f:securityLabel><f:coding><f:code value="MASQUE_PS"/></f:coding></f:securityLabel></add></diff>'
echo "masked; the other finds: $(as cps-medecin-b "${search[@]}" | grep -o '"total":[0-9]*')"
token=$(as cps-infirmier "${base%/fhir}/oauth2/token" -d grant_type=client_credentials -d scope='ITI-67 ITI-68' \
    -d purpose_of_use=bris_de_glace -d 'motif=patient inconscient' --data-urlencode "patient=$patient" |
    grep -o '"access_token":"[^"]*"' | cut -d'"' -f4)
echo "in an emergency: $(as cps-infirmier "${search[@]}" -H "Authorization: Bearer $token" | grep -o '"total":[0-9]*')"
