# Cloudflare before the service, for public images: cached at the edge, never changed on the way. Its cache takes
# files up to 512 MB (Free, Pro, Business) or 5 GB (Enterprise); larger ones pass through, so put prepared
# images or the slice cache of scripts/deploy/nginx behind it.
# Its cache does not tell one page's responses from another's (Vary: Origin), so the service needs
# cors.allow_origins = ["*"]. Deploy with
#
#     terraform -chdir=scripts/deploy/cdn apply -var zone_id=… -var host=disks.example.com
terraform {
  required_version = ">= 1.6"
  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.0"
    }
  }
}

variable "zone_id" {
  type        = string
  description = "The zone that the host is in"
}

variable "host" {
  type        = string
  description = "Where the service is, proxied by Cloudflare"
}

# One form of each image: what is compressed on the way has other offsets. The service says no-transform too.
resource "cloudflare_ruleset" "no_compression" {
  zone_id = var.zone_id
  name    = "disk images are not compressed"
  kind    = "zone"
  phase   = "http_response_compression"
  rules = [{
    ref         = "disks_no_compression"
    description = "Ranges are offsets in the image"
    expression  = "(http.host eq \"${var.host}\")"
    action      = "compress_response"
    action_parameters = {
      algorithms = [{ name = "none" }]
    }
  }]
}

resource "cloudflare_ruleset" "cache" {
  zone_id = var.zone_id
  name    = "disk images are cached"
  kind    = "zone"
  phase   = "http_request_cache_settings"
  rules = [
    {
      ref         = "disks_cached"
      description = "Bytes of public images, for as long as the service says"
      expression  = "(http.host eq \"${var.host}\" and (starts_with(http.request.uri.path, \"/disks/\") or starts_with(http.request.uri.path, \"/relay/\")))"
      action      = "set_cache_settings"
      action_parameters = {
        cache                      = true
        respect_strong_etags       = true
        origin_error_page_passthru = true
        edge_ttl = {
          mode = "respect_origin"
        }
        browser_ttl = {
          mode = "respect_origin"
        }
      }
    },
    {
      ref         = "disks_private"
      description = "Responses to whoever shows credentials"
      expression  = "(http.host eq \"${var.host}\" and (len(http.request.headers[\"authorization\"]) > 0 or http.request.uri.query contains \"sig=\"))"
      action      = "set_cache_settings"
      action_parameters = {
        cache = false
      }
    },
  ]
}
