"""A gateway as its callers see it: predictions, and its deployments through the admin API."""

from legion.client.client import Client
from legion.errors import GatewayError, GatewayRefused

__all__ = ["Client", "GatewayError", "GatewayRefused"]
