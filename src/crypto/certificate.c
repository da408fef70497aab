// SPDX-License-Identifier: Apache-2.0
#include "crypto/certificate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limit.h"
#include "base/random.h"
#include "crypto/failure.h"
#include "crypto/key.h"
#include "crypto/openssl.h"

enum {
        SERIAL_BYTES = 16,
        CERTIFICATE_FILE_LIMIT = 64 * 1024,
        COMMON_NAME_LIMIT = LIMIT_NAME + 64, /* "system:node:" and a subdomain fit */
        NAMES_LIMIT = 64,
};

struct ca {
        X509 *certificate;
        EVP_PKEY *key;
        struct buffer pem;
};

void certificate_pair_deinit(struct certificate_pair *pair)
{
        buffer_deinit(&pair->certificate);
        buffer_wipe(&pair->key);
}

void ca_free(struct ca *ca)
{
        if (!ca)
                return;
        X509_free(ca->certificate);
        key_unref(ca->key);
        buffer_deinit(&ca->pem);
        free(ca);
}

struct str ca_certificate(const struct ca *ca)
{
        return buffer_str(&ca->pem);
}

int ca_append_key(const struct ca *ca, struct buffer *out)
{
        return key_append_pem(ca->key, out);
}

static int append_pem(X509 *certificate, struct buffer *out)
{
        _cleanup_bio_ BIO *bio = BIO_new(BIO_s_mem());

        if (!bio || PEM_write_bio_X509(bio, certificate) != 1)
                return crypto_failure(-ENOMEM);
        return bio_append(bio, out);
}

static int from_pem(struct str pem, X509 **ret_certificate)
{
        if (pem.length == 0 || pem.length > CERTIFICATE_FILE_LIMIT)
                return -EBADMSG;
        _cleanup_bio_ BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
        if (!bio)
                return crypto_failure(-ENOMEM);
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!certificate)
                return crypto_failure(-EBADMSG);
        *ret_certificate = certificate;
        return 0;
}

/* ---- making ---- */

/* RFC 5280, 4.1.2.2: positive, at most 20 octets. */
static int set_serial(X509 *certificate)
{
        uint8_t bytes[SERIAL_BYTES];

        random_bytes(bytes, sizeof(bytes));
        bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
        BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
        bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
        BN_free(number);
        return done ? 0 : crypto_failure(-ENOMEM);
}

static int set_times(X509 *certificate, uint64_t begin_s, uint64_t end_s)
{
        if (!ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)begin_s) ||
            !ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)end_s))
                return crypto_failure(-ENOMEM);
        return 0;
}

static bool is_printable(struct str text, size_t limit)
{
        if (text.length == 0 || text.length > limit)
                return false;
        for (size_t i = 0; i < text.length; i++)
                if (text.data[i] < 0x20 || text.data[i] > 0x7e)
                        return false;
        return true;
}

/*
 * V_ASN1_UTF8STRING, not MBSTRING_UTF8: the latter enforces the 64 characters of X.520, which
 * neither Kubernetes' user names keep to nor verifiers check.
 */
static int add_name(X509_NAME *name, int nid, struct str text)
{
        if (!is_printable(text, COMMON_NAME_LIMIT))
                return -EINVAL;
        if (X509_NAME_add_entry_by_NID(name, nid, V_ASN1_UTF8STRING,
                                       (const unsigned char *)text.data, (int)text.length, -1,
                                       0) != 1)
                return crypto_failure(-ENOMEM);
        return 0;
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX context;

        X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        bool done = extension && X509_add_ext(certificate, extension, -1) == 1;
        X509_EXTENSION_free(extension);
        return done ? 0 : crypto_failure(-ENOMEM);
}

/* 4 or 16 bytes if the text is an IP address, else 0. */
static int parse_address(struct str text, uint8_t ret[static 16])
{
        char address[INET6_ADDRSTRLEN];

        if (text.length >= sizeof(address))
                return 0;
        memcpy(address, text.data, text.length);
        address[text.length] = '\0';
        if (inet_pton(AF_INET, address, ret) == 1)
                return 4;
        return inet_pton(AF_INET6, address, ret) == 1 ? 16 : 0;
}

/* A host name or a wildcard of one (RFC 6125): letters, digits, "-", "_" and single dots. */
static bool is_dns_name(struct str name)
{
        char previous = '.';

        if (str_starts_with(name, STR("*.")))
                name = str_slice(name, 2, name.length);
        if (name.length == 0 || name.length > LIMIT_NAME)
                return false;
        for (size_t i = 0; i < name.length; i++) {
                char c = name.data[i];
                if (c == '.' ? previous == '.' : !isalnum((unsigned char)c) && c != '-' && c != '_')
                        return false;
                previous = c;
        }
        return previous != '.';
}

bool certificate_takes_name(struct str name)
{
        uint8_t address[16];

        return parse_address(name, address) > 0 || is_dns_name(name);
}

static int make_general_name(struct str text, GENERAL_NAME **ret_name)
{
        uint8_t address[16];
        int address_length = parse_address(text, address);

        if (address_length == 0 && !is_dns_name(text))
                return -EINVAL;
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_STRING *value = address_length > 0 ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
        bool done = name && value &&
                    (address_length > 0 ? ASN1_STRING_set(value, address, address_length)
                                        : ASN1_STRING_set(value, text.data, (int)text.length)) == 1;
        if (!done) {
                GENERAL_NAME_free(name);
                ASN1_STRING_free(value);
                return crypto_failure(-ENOMEM);
        }
        GENERAL_NAME_set0_value(name, address_length > 0 ? GEN_IPADD : GEN_DNS, value);
        *ret_name = name;
        return 0;
}

static int add_alternative_names(X509 *certificate, const struct certificate_request *request)
{
        int r = 0;

        if (request->name_count == 0)
                return 0;
        GENERAL_NAMES *names = GENERAL_NAMES_new();
        if (!names)
                return crypto_failure(-ENOMEM);
        for (size_t i = 0; i < request->name_count && r == 0; i++) {
                GENERAL_NAME *name = NULL;
                r = make_general_name(request->names[i], &name);
                if (r == 0 && sk_GENERAL_NAME_push(names, name) <= 0) {
                        GENERAL_NAME_free(name);
                        r = crypto_failure(-ENOMEM);
                }
        }
        if (r == 0 && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) != 1)
                r = crypto_failure(-ENOMEM);
        GENERAL_NAMES_free(names);
        return r;
}

static int make_bare(EVP_PKEY *key, X509 **ret_certificate)
{
        _cleanup_x509_ X509 *certificate = X509_new();

        if (!certificate || X509_set_version(certificate, X509_VERSION_3) != 1 ||
            X509_set_pubkey(certificate, key) != 1)
                return crypto_failure(-ENOMEM);
        int r = set_serial(certificate);
        if (r < 0)
                return r;
        *ret_certificate = TAKE_POINTER(certificate);
        return 0;
}

/* ---- the authority ---- */

static int make_ca_certificate(EVP_PKEY *key, struct str common_name, uint64_t now,
                               uint64_t valid_seconds, X509 **ret_certificate)
{
        _cleanup_x509_ X509 *certificate = NULL;
        uint64_t seconds = now / NS_PER_SECOND;
        int r = make_bare(key, &certificate);

        if (r == 0)
                r = set_times(certificate, seconds - CERTIFICATE_CLOCK_SKEW,
                              seconds + (valid_seconds ? valid_seconds : CERTIFICATE_CA_SECONDS));
        if (r == 0)
                r = add_name(X509_get_subject_name(certificate), NID_commonName, common_name);
        if (r == 0 && X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) != 1)
                r = crypto_failure(-ENOMEM);
        if (r == 0)
                r = add_extension(certificate, certificate, NID_basic_constraints,
                                  "critical,CA:TRUE,pathlen:0");
        if (r == 0)
                r = add_extension(certificate, certificate, NID_key_usage,
                                  "critical,digitalSignature,keyCertSign,cRLSign");
        if (r == 0)
                r = add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
        if (r == 0 && X509_sign(certificate, key, EVP_sha256()) <= 0)
                r = crypto_failure(-ENOMEM);
        if (r < 0)
                return r;
        *ret_certificate = TAKE_POINTER(certificate);
        return 0;
}

/* Takes both over, on failure too. */
static int wrap(X509 *certificate, EVP_PKEY *key, struct ca **ret_ca)
{
        _cleanup_x509_ X509 *owned_certificate = certificate;
        _cleanup_key_ EVP_PKEY *owned_key = key;
        _cleanup_ca_ struct ca *ca = calloc(1, sizeof(*ca));

        if (!ca)
                return -ENOMEM;
        ca->certificate = TAKE_POINTER(owned_certificate);
        ca->key = TAKE_POINTER(owned_key);
        int r = append_pem(ca->certificate, &ca->pem);
        if (r < 0)
                return r;
        *ret_ca = TAKE_POINTER(ca);
        return 0;
}

int ca_make(struct str common_name, uint64_t now, uint64_t valid_seconds, struct error *error,
            struct ca **ret_ca)
{
        _cleanup_key_ EVP_PKEY *key = NULL;
        X509 *certificate = NULL;
        int r = key_make(&key);

        if (r == 0)
                r = make_ca_certificate(key, common_name, now, valid_seconds, &certificate);
        if (r < 0)
                return error_prefix(error, r, "cannot make a certificate authority");
        return wrap(certificate, TAKE_POINTER(key), ret_ca);
}

static int check_ca(X509 *certificate, EVP_PKEY *key, struct error *error)
{
        if (X509_check_ca(certificate) != 1)
                return error_set(error, crypto_failure(-EBADMSG),
                                 "the certificate is not a certificate authority's");
        if (X509_check_private_key(certificate, key) != 1)
                return error_set(error, crypto_failure(-EBADMSG),
                                 "the certificate authority's key is not its certificate's");
        return 0;
}

int ca_from_pem(struct str certificate_pem, struct str key_pem, struct error *error,
                struct ca **ret_ca)
{
        _cleanup_x509_ X509 *certificate = NULL;
        _cleanup_key_ EVP_PKEY *key = NULL;
        int r = from_pem(certificate_pem, &certificate);

        if (r < 0)
                return error_set(error, r, "the certificate authority's certificate is damaged");
        r = key_from_pem(key_pem, &key);
        if (r < 0)
                return error_set(error, r, "the certificate authority's key is damaged");
        r = check_ca(certificate, key, error);
        if (r < 0)
                return r;
        return wrap(TAKE_POINTER(certificate), TAKE_POINTER(key), ret_ca);
}

static int asn1_seconds(const ASN1_TIME *time, uint64_t *ret_seconds)
{
        struct tm tm;

        if (ASN1_TIME_to_tm(time, &tm) != 1)
                return crypto_failure(-EBADMSG);
        time_t seconds = timegm(&tm);
        if (seconds < 0)
                return -EBADMSG;
        *ret_seconds = (uint64_t)seconds;
        return 0;
}

/* Whether at least 1/`fraction` of the certificate's time is left. */
static bool is_fresh(const X509 *certificate, uint64_t now, uint64_t fraction)
{
        uint64_t begin = 0, end = 0, seconds = now / NS_PER_SECOND;

        if (asn1_seconds(X509_get0_notBefore(certificate), &begin) < 0 ||
            asn1_seconds(X509_get0_notAfter(certificate), &end) < 0)
                return false;
        return begin <= seconds && seconds < end && end - seconds >= (end - begin) / fraction;
}

static int write_certificate(int directory, const char *path, X509 *certificate,
                             struct error *error)
{
        _cleanup_buffer_ struct buffer pem = {};
        int r = append_pem(certificate, &pem);

        if (r == 0)
                r = file_write_atomic(directory, path, buffer_str(&pem), 0644);
        return r < 0 ? error_prefix(error, r, "cannot write the certificate %s", path) : 0;
}

int ca_load_or_create(int directory, struct str common_name, uint64_t now, struct error *error,
                      struct ca **ret_ca)
{
        _cleanup_key_ EVP_PKEY *key = NULL;
        _cleanup_x509_ X509 *certificate = NULL;
        _cleanup_buffer_ struct buffer pem = {};

        /* A certificate without its key is of no use, and making a new pair would lock out all who
         * trust the old one: so the key decides, and a certificate alone is an error. */
        int found = file_read(directory, "ca.crt", CERTIFICATE_FILE_LIMIT, &pem);
        if (found < 0 && found != -ENOENT)
                return error_prefix(error, found, "cannot read the certificate ca.crt");
        if (found == 0) {
                _cleanup_secret_ struct buffer key_pem = {};
                int r = file_read(directory, "ca.key", CERTIFICATE_FILE_LIMIT, &key_pem);
                if (r < 0)
                        return error_prefix(error, r, "cannot read the key ca.key of ca.crt");
        }
        int r = key_load_or_create(directory, "ca.key", error, &key);
        if (r < 0)
                return r;

        if (found == 0) {
                r = from_pem(buffer_str(&pem), &certificate);
                if (r < 0)
                        return error_set(error, r, "ca.crt holds no certificate");
                r = check_ca(certificate, key, error);
                if (r < 0)
                        return r;
        }
        if (found < 0 || !is_fresh(certificate, now, 10)) {
                X509 *made = NULL;
                r = make_ca_certificate(key, common_name, now, 0, &made);
                if (r < 0)
                        return error_prefix(error, r, "cannot make a certificate authority");
                X509_free(certificate);
                certificate = made;
                r = write_certificate(directory, "ca.crt", certificate, error);
                if (r < 0)
                        return r;
        }
        return wrap(TAKE_POINTER(certificate), TAKE_POINTER(key), ret_ca);
}

/* ---- issuing ---- */

static int set_subject(X509 *certificate, const struct certificate_request *request)
{
        X509_NAME *subject = X509_get_subject_name(certificate);
        int r = 0;

        if (request->organization_count > NAMES_LIMIT || request->name_count > NAMES_LIMIT)
                return -EINVAL;
        for (size_t i = 0; i < request->organization_count && r == 0; i++)
                r = add_name(subject, NID_organizationName, request->organizations[i]);
        if (r == 0)
                r = add_name(subject, NID_commonName, request->common_name);
        return r;
}

static int set_validity(X509 *certificate, const struct ca *ca,
                        const struct certificate_request *request)
{
        uint64_t seconds = request->now / NS_PER_SECOND, ca_end = 0;
        uint64_t valid =
                request->valid_seconds ? request->valid_seconds : CERTIFICATE_DEFAULT_SECONDS;

        int r = asn1_seconds(X509_get0_notAfter(ca->certificate), &ca_end);
        if (r < 0)
                return r;
        return set_times(certificate, seconds - CERTIFICATE_CLOCK_SKEW,
                         MIN(seconds + valid, ca_end));
}

static const char *extended_usage(enum certificate_purpose purpose)
{
        switch (purpose) {
        case CERTIFICATE_SERVER:
                return "serverAuth";
        case CERTIFICATE_CLIENT:
                return "clientAuth";
        case CERTIFICATE_SERVER_AND_CLIENT:
                break;
        }
        return "serverAuth,clientAuth";
}

static int issue(const struct ca *ca, const struct certificate_request *request, EVP_PKEY *key,
                 X509 **ret_certificate)
{
        _cleanup_x509_ X509 *certificate = NULL;
        int r = make_bare(key, &certificate);

        if (r == 0)
                r = set_validity(certificate, ca, request);
        if (r == 0)
                r = set_subject(certificate, request);
        if (r == 0 &&
            X509_set_issuer_name(certificate, X509_get_subject_name(ca->certificate)) != 1)
                r = crypto_failure(-ENOMEM);
        if (r == 0)
                r = add_extension(certificate, ca->certificate, NID_basic_constraints,
                                  "critical,CA:FALSE");
        if (r == 0)
                r = add_extension(certificate, ca->certificate, NID_key_usage,
                                  "critical,digitalSignature");
        if (r == 0)
                r = add_extension(certificate, ca->certificate, NID_ext_key_usage,
                                  extended_usage(request->purpose));
        if (r == 0)
                r = add_extension(certificate, ca->certificate, NID_subject_key_identifier, "hash");
        if (r == 0)
                r = add_extension(certificate, ca->certificate, NID_authority_key_identifier,
                                  "keyid:always");
        if (r == 0)
                r = add_alternative_names(certificate, request);
        if (r == 0 && X509_sign(certificate, ca->key, EVP_sha256()) <= 0)
                r = crypto_failure(-ENOMEM);
        if (r < 0)
                return r;
        *ret_certificate = TAKE_POINTER(certificate);
        return 0;
}

int ca_issue(const struct ca *ca, const struct certificate_request *request, struct error *error,
             struct certificate_pair *ret_pair)
{
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        _cleanup_key_ EVP_PKEY *key = NULL;
        _cleanup_x509_ X509 *certificate = NULL;
        int r = key_make(&key);

        if (r == 0)
                r = issue(ca, request, key, &certificate);
        if (r == 0)
                r = append_pem(certificate, &pair.certificate);
        if (r == 0)
                r = key_append_pem(key, &pair.key);
        if (r < 0)
                return error_prefix(error, r, "cannot issue a certificate for \"%.*s\"",
                                    STR_FORMAT(request->common_name));
        *ret_pair = pair;
        pair = (struct certificate_pair){};
        return 0;
}

/* Whether both certificates have the same extension with the same value, or neither has it. */
static bool same_extension(const X509 *a, const X509 *b, int nid)
{
        X509_EXTENSION *of_a = X509_get_ext(a, X509_get_ext_by_NID(a, nid, -1));
        X509_EXTENSION *of_b = X509_get_ext(b, X509_get_ext_by_NID(b, nid, -1));

        if (!of_a || !of_b)
                return of_a == of_b;
        return ASN1_STRING_cmp(X509_EXTENSION_get_data(of_a), X509_EXTENSION_get_data(of_b)) == 0;
}

/*
 * Whether a pair on disk is what issuing anew would give, apart from key, serial number and times.
 * Found by issuing one in memory: then every part of the request counts, those added later too.
 */
static bool still_good(const struct ca *ca, const struct certificate_request *request,
                       const struct certificate_pair *pair)
{
        _cleanup_x509_ X509 *old = NULL, *new = NULL;
        _cleanup_key_ EVP_PKEY *key = NULL;

        bool good = from_pem(buffer_str(&pair->certificate), &old) == 0 &&
                    key_from_pem(buffer_str(&pair->key), &key) == 0 &&
                    X509_check_private_key(old, key) == 1 && X509_verify(old, ca->key) == 1 &&
                    is_fresh(old, request->now, 3) && issue(ca, request, key, &new) == 0 &&
                    X509_NAME_cmp(X509_get_subject_name(old), X509_get_subject_name(new)) == 0 &&
                    X509_NAME_cmp(X509_get_issuer_name(old), X509_get_issuer_name(new)) == 0 &&
                    same_extension(old, new, NID_basic_constraints) &&
                    same_extension(old, new, NID_key_usage) &&
                    same_extension(old, new, NID_ext_key_usage) &&
                    same_extension(old, new, NID_authority_key_identifier) &&
                    same_extension(old, new, NID_subject_alt_name);
        crypto_failure(0);
        return good;
}

int ca_ensure(const struct ca *ca, int directory, const char *name,
              const struct certificate_request *request, struct error *error,
              struct certificate_pair *ret_pair)
{
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        char certificate_path[256], key_path[256];
        int r;

        if (snprintf(certificate_path, sizeof(certificate_path), "%s.crt", name) >=
            (int)sizeof(certificate_path))
                return error_set(error, -ENAMETOOLONG, "the name %s is too long", name);
        snprintf(key_path, sizeof(key_path), "%s.key", name);

        bool stands = file_read(directory, certificate_path, CERTIFICATE_FILE_LIMIT,
                                &pair.certificate) == 0 &&
                      file_read(directory, key_path, CERTIFICATE_FILE_LIMIT, &pair.key) == 0 &&
                      still_good(ca, request, &pair);
        if (!stands) {
                certificate_pair_deinit(&pair);
                pair = (struct certificate_pair){};
                r = ca_issue(ca, request, error, &pair);
                if (r < 0)
                        return r;
                r = file_write_atomic(directory, key_path, buffer_str(&pair.key), 0600);
                if (r == 0)
                        r = file_write_atomic(directory, certificate_path,
                                              buffer_str(&pair.certificate), 0644);
                if (r < 0)
                        return error_prefix(error, r, "cannot write the certificate %s",
                                            certificate_path);
        }
        *ret_pair = pair;
        pair = (struct certificate_pair){};
        return stands ? 0 : 1;
}

/* ---- reading ---- */

static int entry_text(const X509_NAME *name, int index, struct arena *arena, struct str *ret_text)
{
        unsigned char *utf8 = NULL;
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, index);
        int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));

        if (length < 0)
                return crypto_failure(-EBADMSG);
        int r = 0;
        /* A NUL inside would make "admin\0x" look like "admin" to whoever prints or compares it as
         * a C string. */
        if (length == 0 || memchr(utf8, '\0', (size_t)length))
                r = -EBADMSG;
        else
                *ret_text = arena_str(arena, (struct str){ (char *)utf8, (size_t)length });
        if (r == 0 && !ret_text->data)
                r = -ENOMEM;
        OPENSSL_free(utf8);
        return r;
}

int certificate_subject_read(const struct x509_st *certificate, struct arena *arena,
                             struct certificate_subject *ret_subject)
{
        const X509_NAME *name = X509_get_subject_name(certificate);
        struct certificate_subject subject = {};
        int entries = X509_NAME_entry_count(name), at = -1;

        if (entries > NAMES_LIMIT)
                return -EBADMSG;
        subject.organizations = arena_new(arena, struct str, (size_t)entries + 1);
        if (!subject.organizations)
                return -ENOMEM;

        /* The last common name counts, as in Go's crypto/x509 and so in kube-apiserver. */
        while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0) {
                int r = entry_text(name, at, arena, &subject.common_name);
                if (r < 0)
                        return r;
        }
        if (subject.common_name.length == 0)
                return -EBADMSG;
        while ((at = X509_NAME_get_index_by_NID(name, NID_organizationName, at)) >= 0) {
                int r = entry_text(name, at, arena,
                                   &subject.organizations[subject.organization_count]);
                if (r < 0)
                        return r;
                subject.organization_count++;
        }
        *ret_subject = subject;
        return 0;
}

int certificate_not_after(struct str pem, uint64_t *ret_realtime_ns)
{
        _cleanup_x509_ X509 *certificate = NULL;
        uint64_t seconds = 0;
        int r = from_pem(pem, &certificate);

        if (r == 0)
                r = asn1_seconds(X509_get0_notAfter(certificate), &seconds);
        if (r < 0)
                return r;
        *ret_realtime_ns = MIN(seconds, UINT64_MAX / NS_PER_SECOND) * NS_PER_SECOND;
        return 0;
}
