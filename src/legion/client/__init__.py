"""A gateway as its callers see it: predictions, and its deployments through the admin API."""

from legion.client.access import DEFAULT_URL, admin_token, gateway_url
from legion.client.client import Client
from legion.client.failures import GatewayError, GatewayRefused

__all__ = ["DEFAULT_URL", "Client", "GatewayError", "GatewayRefused", "admin_token", "gateway_url"]
